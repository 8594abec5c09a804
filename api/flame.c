/*
 * flame.c: see flame.h.
 *
 * The tree has a node for each different path of names. Siblings are in alphabetical order, because the lines are
 * sorted before they are added: so that two graphs of the same program look alike.
 */
#include "flame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH      1200.0
#define MARGIN     10.0
#define ROW        17
#define HEAD       44
#define CHARACTER  6.6 /* width of one, of 11 px monospace */
#define LEAST      0.3 /* narrower boxes are left out */
#define NAME_BYTES 512

/* ---- Lines ----------------------------------------------------------------------------------- */

/* A frame's name without what would break a line apart. */
static void add_name(struct api_buf *line, const struct gr_frame *frame)
{
    char name[NAME_BYTES];
    if (frame->function)
        snprintf(name, sizeof name, "%s", frame->function);
    else if (frame->module)
        snprintf(name, sizeof name, "%s+0x%" PRIx64, frame->module, frame->offset);
    else
        snprintf(name, sizeof name, "0x%" PRIx64, frame->pc);
    for (char *at = name; *at; at++)
        if (*at == ';' || (unsigned char)*at <= ' ')
            *at = '_';
    api_buf_str(line, name);
}

void api_folded_add(struct api_tally *lines, struct api_buf *line, const struct api_stack *stack)
{
    api_buf_clear(line);
    if (stack->truncated)
        api_buf_str(line, "[cut]");
    for (size_t i = stack->count; i-- > 0;) {
        if (line->size)
            api_buf_str(line, ";");
        add_name(line, &stack->frames[i]);
    }
    if (!line->size)
        api_buf_str(line, "[not stopped]");
    if (line->failed)
        lines->failed = true;
    else
        api_tally_add(lines, line->data, line->size, stack->value[0], stack->value[1]);
}

void api_folded_write(struct api_tally *lines, struct api_buf *out)
{
    api_tally_sort_by_text(lines);
    for (size_t i = 0; i < lines->count; i++)
        api_buf_printf(out, "%s %" PRId64 "\n", api_tally_text(lines, i), lines->item[i].value[0]);
    out->failed = out->failed || lines->failed;
}

/* ---- The tree -------------------------------------------------------------------------------- */

struct node {
    const char *name;
    size_t size;
    int64_t value;
    uint32_t child, last_child, next; /* 0: none; the root is nobody's child */
};

struct tree {
    struct node *node;
    size_t count, capacity, depth;
    bool failed;
};

static uint32_t node_make(struct tree *tree, const char *name, size_t size)
{
    if (tree->count == tree->capacity) {
        size_t capacity = tree->capacity ? tree->capacity * 2 : 256;
        struct node *node = reallocarray(tree->node, capacity, sizeof *node);
        if (!node || capacity > UINT32_MAX) {
            tree->failed = true;
            tree->node = node ? node : tree->node;
            return 0;
        }
        tree->node = node;
        tree->capacity = capacity;
    }
    tree->node[tree->count] = (struct node){.name = name, .size = size};
    return (uint32_t)tree->count++;
}

/* The child of that name. The lines are sorted, but "a;b" and "a b;c" may come between "a" and "a;c": all are searched. */
static uint32_t child_of(struct tree *tree, uint32_t parent, const char *name, size_t size)
{
    for (uint32_t i = tree->node[parent].child; i; i = tree->node[i].next)
        if (tree->node[i].size == size && memcmp(tree->node[i].name, name, size) == 0)
            return i;
    uint32_t made = node_make(tree, name, size);
    if (!made)
        return 0;
    struct node *node = &tree->node[parent];
    if (node->child)
        tree->node[node->last_child].next = made;
    else
        node->child = made;
    node->last_child = made;
    return made;
}

static void tree_add(struct tree *tree, const char *line, int64_t value)
{
    uint32_t at = 0;
    size_t depth = 0;
    tree->node[0].value += value;
    while (*line && !tree->failed) {
        size_t size = strcspn(line, ";");
        at = child_of(tree, at, line, size);
        if (!at)
            return;
        tree->node[at].value += value;
        line += size + (line[size] == ';');
        depth++;
    }
    tree->depth = depth > tree->depth ? depth : tree->depth;
}

/* ---- The picture ----------------------------------------------------------------------------- */

struct picture {
    const struct tree *tree;
    const char *unit;
    struct api_buf *out;
    double scale, bottom;
};

static void add_escaped(struct api_buf *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '<')
            api_buf_str(out, "&lt;");
        else if (c == '>')
            api_buf_str(out, "&gt;");
        else if (c == '&')
            api_buf_str(out, "&amp;");
        else if (c == '"')
            api_buf_str(out, "&quot;");
        else
            api_buf_add(out, c < ' ' || c >= 0x7f ? "?" : text + i, 1);
    }
}

/* Warm colours, always the same for a name. */
static void add_colour(struct api_buf *out, const struct node *node)
{
    unsigned h = 2166136261u;
    for (size_t i = 0; i < node->size; i++)
        h = (h ^ (unsigned char)node->name[i]) * 16777619u;
    api_buf_printf(out, "rgb(%u,%u,%u)", 218 + h % 36, 120 + h / 36 % 110, 60 + h / 3960 % 50);
}

static void add_box(struct picture *p, const struct node *node, double x, double width,
                    size_t depth)
{
    double y = p->bottom - (double)(depth + 1) * ROW;
    size_t room = width > 2 * CHARACTER ? (size_t)((width - 4) / CHARACTER) : 0;
    api_buf_str(p->out, "<g><title>");
    add_escaped(p->out, node->name, node->size);
    api_buf_printf(p->out, " (%" PRId64 " %s, %.2f%%)</title><rect x=\"%.1f\" y=\"%.0f\" ",
                   node->value, p->unit,
                   100.0 * (double)node->value / (double)p->tree->node[0].value, x, y);
    api_buf_printf(p->out, "width=\"%.1f\" height=\"%d\" fill=\"", width, ROW - 1);
    add_colour(p->out, node);
    api_buf_str(p->out, "\"/>");
    if (room >= 3) {
        bool cut = node->size > room;
        api_buf_printf(p->out, "<text x=\"%.1f\" y=\"%.1f\">", x + 3, y + ROW - 5.0);
        add_escaped(p->out, node->name, cut ? room - 2 : node->size);
        api_buf_str(p->out, cut ? "..</text>" : "</text>");
    }
    api_buf_str(p->out, "</g>\n");
}

/* Recursion: as deep as a stack has frames, at most GR_FRAMES_MAX and one. */
static void draw(struct picture *p, uint32_t parent, double x, size_t depth)
{
    for (uint32_t i = p->tree->node[parent].child; i; i = p->tree->node[i].next) {
        const struct node *node = &p->tree->node[i];
        double width = (double)node->value * p->scale;
        if (width >= LEAST) {
            add_box(p, node, x, width, depth);
            draw(p, i, x, depth + 1);
        }
        x += width;
    }
}

static void draw_all(const struct tree *tree, const char *title, const char *unit,
                     struct api_buf *out)
{
    double height = HEAD + (double)(tree->depth + 1) * ROW + MARGIN;
    const struct node all = {
        .name = "all", .size = 3, .value = tree->node[0].value}; /* the root as a box */
    struct picture picture = {.tree = tree,
                              .unit = unit,
                              .out = out,
                              .scale = all.value ? (WIDTH - 2 * MARGIN) / (double)all.value : 0,
                              .bottom = height - MARGIN};
    api_buf_printf(out,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                   "viewBox=\"0 0 %.0f %.0f\" font-family=\"monospace\" font-size=\"11\">\n"
                   "<style>g rect{rx:1;stroke:#fffdf7;stroke-width:.6} g:hover rect{stroke:#000} text{fill:#111}</style>\n"
                   "<rect width=\"100%%\" height=\"100%%\" fill=\"#fffdf7\"/>\n"
                   "<text x=\"%.0f\" y=\"24\" font-size=\"15\">",
                   WIDTH, height, WIDTH, height, MARGIN);
    add_escaped(out, title, strlen(title));
    api_buf_str(out, "</text>\n");
    if (all.value)
        add_box(&picture, &all, MARGIN, WIDTH - 2 * MARGIN, 0);
    draw(&picture, 0, MARGIN, 1);
    api_buf_str(out, "</svg>\n");
}

void api_flame_write(struct api_tally *lines, const char *title, const char *unit,
                     struct api_buf *out)
{
    struct tree tree = {0};
    api_tally_sort_by_text(lines);
    node_make(&tree, "", 0);
    for (size_t i = 0; i < lines->count && !tree.failed; i++)
        tree_add(&tree, api_tally_text(lines, i), lines->item[i].value[0]);
    if (!tree.failed)
        draw_all(&tree, title, unit, out);
    out->failed = out->failed || lines->failed || tree.failed;
    free(tree.node);
}
