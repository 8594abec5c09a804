/*
 * cmd_top.c: `grasp top`: the list, live, on the whole screen.
 *
 * ncurses draws; top_rows.h knows what. A look at the list costs the daemon something, so that of a
 * hundred thousand goroutines no more than a fifth of the time is spent in asking: the pause between two
 * looks is at least four times what the last one took. What goes wrong is shown in the last line; a
 * daemon that is gone is asked again.
 */
#include "cli.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <curses.h>

#include "table.h"
#include "top_rows.h"

#define HEAD_LINES 4
#define LEASE_MS   300000 /* of what the key z suspends */
#define STATE_ALL  6      /* index of NULL in top_states */

struct screen {
    struct cli *cli;
    struct top_rows rows;
    json_t *runtime;
    struct http_buf said; /* the last line */
    size_t first;         /* of the view, on top */
    unsigned state;       /* index of top_states */
    int pending;          /* a key that was pressed during a look; 0: none */
    bool frozen, over;
    uint64_t next_ns, interval_ns;
};

static volatile sig_atomic_t ended;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- Looking ---------------------------------------------------------------------------------- */

#define KEY_EVERY 1000 /* rows; a long list must not keep somebody who wants to leave */

static bool add_row(void *ctx, json_t *goroutine)
{
    struct screen *screen = ctx;
    top_rows_add(&screen->rows, goroutine);
    if (screen->rows.now.count % KEY_EVERY == 0 && !screen->pending) {
        timeout(0);
        int key = getch();
        screen->pending = key == ERR ? 0 : key;
    }
    screen->over = screen->over || screen->pending == 'q' || screen->pending == 3 || ended;
    return !screen->over;
}

static void look(struct screen *screen)
{
    struct cli *cli = screen->cli;
    struct http_buf path = {0};
    uint64_t began = now_ns();
    http_buf_str(&path, "/v1/goroutines");
    if (!cli->options.state)
        http_buf_str(&path, "?state=live");
    cli_filters(cli, &path);
    screen->said.size = 0;
    json_t *runtime = cli_ask(cli, "GET", "/v1/runtime", NULL);
    if (runtime) {
        json_decref(screen->runtime);
        screen->runtime = runtime;
        top_rows_begin(&screen->rows);
        cli_walk(cli, path.data, add_row, screen);
        top_rows_end(&screen->rows, now_ns());
    }
    http_buf_free(&path);
    uint64_t took = now_ns() - began;
    uint64_t pause = 4 * took > screen->interval_ns ? 4 * took : screen->interval_ns;
    screen->next_ns = now_ns() + pause;
}

/* ---- Drawing ---------------------------------------------------------------------------------- */

/* Text at most to the right edge, without control characters. */
static void put(int y, int x, int width, const char *text)
{
    struct http_buf plain = {0};
    int room = COLS - x < width ? COLS - x : width;
    if (room <= 0 || y >= LINES)
        return;
    table_plain(&plain, text, strlen(text));
    mvaddnstr(y, x, plain.data, (int)table_text_fit(plain.data, (unsigned)room));
    http_buf_free(&plain);
}

static void draw_head(const struct screen *screen)
{
    const json_t *r = screen->runtime, *states = json_object_get(r, "goroutines");
    const struct top_rows *rows = &screen->rows;
    struct http_buf line = {0};
    char name[300];
    http_place_name(&screen->cli->place, name, sizeof name);
    http_buf_printf(&line,
                    "grasp %s  %s  pid %" PRIu64 "  %" PRIu64 " procs  %" PRIu64 " threads%s",
                    cli_string(r, "version"), name, cli_number(r, "pid"), cli_number(r, "procs"),
                    cli_number(r, "threads"), screen->frozen ? "  FROZEN" : "");
    attron(A_BOLD);
    put(0, 0, COLS, line.data);
    attroff(A_BOLD);
    line.size = 0;
    http_buf_printf(&line,
                    "goroutines: %" PRIu64 " live, %" PRIu64 " running, %" PRIu64
                    " runnable, %" PRIu64 " waiting, %" PRIu64 " syscall, %" PRIu64
                    " preempted; %" PRIu64 " held by %" PRIu64 " suspensions",
                    cli_number(r, "live"), cli_number(states, "running"),
                    cli_number(states, "runnable"), cli_number(states, "waiting"),
                    cli_number(states, "syscall"), cli_number(states, "preempted"),
                    cli_number(r, "held"), cli_number(r, "suspensions"));
    put(1, 0, COLS, line.data);
    line.size = 0;
    http_buf_printf(&line, "%zu shown, by %s%s%s%s%s%s", rows->shown, top_sort_names[rows->sort],
                    rows->reverse ? " reversed" : "", rows->state ? ", only " : "",
                    rows->state ? rows->state : "", rows->filter[0] ? ", with " : "", rows->filter);
    put(2, 0, COLS, line.data);
    attron(A_REVERSE);
    mvhline(3, 0, ' ', COLS);
    put(3, 0, COLS,
        "      ID STATE      HELD   CPU%    TOTAL ENTRY                WAIT             PLACE");
    attroff(A_REVERSE);
    http_buf_free(&line);
}

static int color_of(const struct top_row *row)
{
    if (row->suspended)
        return 2;
    return strcmp(row->state, "running") == 0 ? 1 : 0;
}

static void draw_row(const struct screen *screen, size_t at, int y)
{
    double percent;
    char text[96], duration[CLI_DURATION_BYTES];
    struct http_buf entry = {0};
    const struct top_row *row = top_rows_get(&screen->rows, at, &percent);
    bool marked = at == screen->rows.at;
    attr_t attributes = (attr_t)COLOR_PAIR(color_of(row)) | (marked ? A_REVERSE : 0);
    attron((int)attributes);
    if (marked)
        mvhline(y, 0, ' ', COLS);
    snprintf(text, sizeof text, "%8" PRIu64 " %-10s", row->id, row->state);
    put(y, 0, 20, text);
    if (row->holds) {
        snprintf(text, sizeof text, "%4" PRIu64, row->holds);
        put(y, 20, 4, text);
    }
    snprintf(text, sizeof text, "%6.1f %8s", percent, cli_duration(duration, row->cpu_ns));
    put(y, 25, 16, text);
    http_buf_printf(&entry, "%s/%s", row->module, *row->entry ? row->entry : row->name);
    put(y, 41, 20, entry.data);
    if (*row->wait_reason) {
        snprintf(text, sizeof text, "%.9s %s", row->wait_reason,
                 cli_duration(duration, row->wait_ns));
        put(y, 62, 16, text);
    }
    put(y, 79, COLS, row->place);
    attroff((int)attributes);
    http_buf_free(&entry);
}

static void draw(struct screen *screen)
{
    int room = LINES - HEAD_LINES - 1;
    size_t lines = room > 0 ? (size_t)room : 0, at = screen->rows.at;
    if (at < screen->first)
        screen->first = at;
    if (lines && at >= screen->first + lines)
        screen->first = at - lines + 1;
    if (screen->first >= screen->rows.shown)
        screen->first = 0;
    erase();
    draw_head(screen);
    for (size_t i = 0; i < lines && screen->first + i < screen->rows.shown; i++)
        draw_row(screen, screen->first + i, HEAD_LINES + (int)i);
    put(LINES - 1, 0, COLS,
        screen->said.size ? screen->said.data
                          : "q quit  arrows  s sort  R reverse  t state  / filter  space freeze  "
                            "Enter stack  z suspend  r resume  ? help");
    refresh();
}

/* ---- Keys ------------------------------------------------------------------------------------- */

/* Text over the whole screen, until a key. */
static void show_text(const char *text)
{
    int y = 0;
    erase();
    while (*text && y < LINES - 1) {
        size_t size = strcspn(text, "\n");
        struct http_buf line = {0};
        http_buf_add(&line, text, size);
        for (size_t i = 0; i < line.size; i++)
            line.data[i] = line.data[i] == '\t' ? ' ' : line.data[i];
        put(y++, 0, COLS, line.data);
        http_buf_free(&line);
        text += size + (text[size] == '\n');
    }
    attron(A_REVERSE);
    put(LINES - 1, 0, COLS, *text ? " more than fits; any key goes back " : " any key goes back ");
    attroff(A_REVERSE);
    refresh();
    timeout(-1);
    getch();
}

static void show_stack(struct screen *screen)
{
    char path[96];
    struct http_answer answer;
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/stack?format=text",
             screen->rows.marked);
    http_answer_init(&answer);
    if (cli_ask_raw(screen->cli, "GET", path, NULL, 0, NULL, &answer) == 0) {
        if (answer.status == 200)
            show_text(answer.body.data);
        else
            cli_explain(screen->cli, &answer);
    }
    http_answer_fini(&answer);
}

static void control(struct screen *screen, const char *what, json_t *body)
{
    char path[96];
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/%s", screen->rows.marked, what);
    json_t *answer = cli_ask(screen->cli, "POST", path, body);
    json_decref(answer);
    if (!answer)
        return;
    look(screen);
    screen->said.size = 0;
    http_buf_printf(&screen->said, "%s %" PRIu64 ": done", what, screen->rows.marked);
}

static void read_filter(struct screen *screen)
{
    char text[sizeof screen->rows.filter] = "";
    move(LINES - 1, 0);
    clrtoeol();
    addstr("filter: ");
    echo();
    curs_set(1);
    timeout(-1);
    getnstr(text, sizeof text - 1);
    curs_set(0);
    noecho();
    memcpy(screen->rows.filter, text, sizeof text);
    top_rows_arrange(&screen->rows);
}

static const char help[] =
    "up, down, j, k      one goroutine\n"
    "page up and down    a screen of them; Home, End\n"
    "s                   sort by the next column: cpu, id, total, wait, state, holds, name\n"
    "R                   reverse the order\n"
    "t                   only those of one state, the next one each time; at last all again\n"
    "/                   only those with a text in name, module, entry, labels, place, or of that "
    "id\n"
    "space               freeze the picture, and go on\n"
    "Enter               the stack of the marked goroutine\n"
    "z                   suspend the marked goroutine for five minutes at most\n"
    "r                   resume it\n"
    "q                   quit\n";

static void arrange_key(struct screen *screen, int key)
{
    struct top_rows *rows = &screen->rows;
    if (key == 's')
        rows->sort = (rows->sort + 1) % TOP_SORTS;
    else if (key == 'R')
        rows->reverse = !rows->reverse;
    else {
        screen->state = screen->state == STATE_ALL ? 0 : screen->state + 1;
        rows->state = top_states[screen->state];
    }
    top_rows_arrange(rows);
}

static void act_key(struct screen *screen, int key)
{
    bool marked = screen->rows.marked != 0;
    switch (key) {
    case '/':
        read_filter(screen);
        break;
    case '?':
    case 'h':
        show_text(help);
        break;
    case '\n':
    case KEY_ENTER:
        if (marked)
            show_stack(screen);
        break;
    case 'z':
        if (marked)
            control(screen, "suspend",
                    json_pack("{s:i,s:s}", "lease_ms", LEASE_MS, "owner", "grasp top"));
        break;
    case 'r':
        if (marked)
            control(screen, "resume", json_object());
        break;
    default:
        break;
    }
}

static void on_key(struct screen *screen, int key)
{
    long page = LINES > HEAD_LINES + 2 ? LINES - HEAD_LINES - 2 : 1;
    static const struct {
        int key;
        long by, pages;
    } moves[] = {{KEY_UP, -1, 0},
                 {'k', -1, 0},
                 {KEY_DOWN, 1, 0},
                 {'j', 1, 0},
                 {KEY_PPAGE, 0, -1},
                 {KEY_NPAGE, 0, 1},
                 {KEY_HOME, -1000000000, 0},
                 {KEY_END, 1000000000, 0}};
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++)
        if (moves[i].key == key)
            top_rows_move(&screen->rows, moves[i].by + moves[i].pages * page);
    if (key == 'q' || key == 3)
        screen->over = true;
    else if (key == ' ')
        screen->frozen = !screen->frozen;
    else if (key == 's' || key == 'R' || key == 't')
        arrange_key(screen, key);
    else
        act_key(screen, key);
}

/* ---- The loop --------------------------------------------------------------------------------- */

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static void run(struct screen *screen)
{
    /* The first look at a long list takes a moment. */
    put(LINES - 1, 0, COLS, "asking the daemon ...  q quit");
    refresh();
    look(screen);
    /* Ends with a key or a signal; each turn waits for a key or for the next look. */
    while (!screen->over && !ended) {
        draw(screen);
        uint64_t now = now_ns(), wait = screen->next_ns > now ? screen->next_ns - now : 0;
        timeout(screen->frozen ? 1000 : (int)(wait / 1000000) + 1);
        int key = screen->pending ? screen->pending : getch();
        screen->pending = 0;
        if (key != ERR && key != KEY_RESIZE)
            on_key(screen, key);
        else if (key == ERR && !screen->frozen && now_ns() >= screen->next_ns)
            look(screen);
    }
}

static bool choose_sort(struct cli *cli, struct top_rows *rows)
{
    const char *wanted = cli->options.sort;
    for (unsigned i = 0; wanted && i < TOP_SORTS; i++)
        if (strcmp(top_sort_names[i], wanted) == 0) {
            rows->sort = (enum top_sort)i;
            return true;
        }
    if (wanted)
        cli_fail(cli, CLI_USAGE,
                 "--sort must be cpu, id, total, wait, state, holds or name, not \"%s\"", wanted);
    return !wanted;
}

int cli_top(struct cli *cli)
{
    struct screen screen = {.cli = cli, .state = STATE_ALL};
    struct sigaction action = {.sa_handler = on_end};
    SCREEN *terminal;
    if (!cli->terminal || !isatty(STDIN_FILENO))
        return cli_fail(cli, CLI_USAGE, "top needs a terminal; for a pipe there is `grasp ps`");
    top_rows_init(&screen.rows);
    if (!choose_sort(cli, &screen.rows)) {
        top_rows_fini(&screen.rows);
        return cli->failure;
    }
    screen.interval_ns =
        (cli->options.interval_ms == CLI_UNSET ? 1000 : cli->options.interval_ms) * 1000000;
    if (!(terminal = newterm(NULL, stdout, stdin))) {
        top_rows_fini(&screen.rows);
        return cli_fail(cli, CLI_LOCAL, "the terminal \"%s\" is unknown: set TERM",
                        getenv("TERM") ? getenv("TERM") : "");
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    if (cli->color && start_color() == OK && use_default_colors() == OK) {
        init_pair(1, COLOR_GREEN, -1);
        init_pair(2, COLOR_YELLOW, -1);
    }
    cli->messages = &screen.said;
    run(&screen);
    cli->messages = NULL;
    endwin();
    delscreen(terminal);
    top_rows_fini(&screen.rows);
    json_decref(screen.runtime);
    http_buf_free(&screen.said);
    return CLI_OK;
}
