/*
 * modules.c: list, show, load, replace and unload modules.
 *
 * The runtime lists what it loaded and what it refused. What the host refused before (a file that
 * others can write) never reached the runtime; such files are kept as notes and listed behind the
 * runtime's.
 */
#include "internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 256 /* shown of one module */
#define LEAVING_MAX 64  /* replaced builds shown of one module */

/* ---- Notes ----------------------------------------------------------------------------------- */

/* notes_lock held. */
static struct api_module_note *note_find(struct api *api, const char *name)
{
    for (size_t i = 0; i < api->note_count; i++)
        if (strcmp(api->notes[i].name, name) == 0)
            return &api->notes[i];
    return NULL;
}

static void note_free(struct api_module_note *note)
{
    free(note->name);
    free(note->path);
    free(note->error);
}

/* Out of memory: the file is not listed, the log has it anyhow. */
void api_module_note(struct api *api, const char *name, const char *path, const char *error)
{
    struct api_module_note note = {strdup(name), strdup(path), strdup(error)};
    pthread_mutex_lock(&api->notes_lock);
    struct api_module_note *old = note_find(api, name), *grown = NULL;
    if (note.name && note.path && note.error && !old) {
        grown = realloc(api->notes, (api->note_count + 1) * sizeof *grown);
        if (grown) {
            api->notes = grown;
            old = &api->notes[api->note_count++];
            *old = (struct api_module_note){0};
        }
    }
    if (note.name && note.path && note.error && old) {
        struct api_module_note swap = *old;
        *old = note;
        note = swap;
    }
    pthread_mutex_unlock(&api->notes_lock);
    note_free(&note);
}

/* Whether there was one. */
static bool note_forget(struct api *api, const char *name)
{
    struct api_module_note gone = {0};
    pthread_mutex_lock(&api->notes_lock);
    struct api_module_note *note = note_find(api, name);
    if (note) {
        gone = *note;
        *note = api->notes[--api->note_count];
    }
    pthread_mutex_unlock(&api->notes_lock);
    bool found = gone.name != NULL;
    note_free(&gone);
    return found;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *entries_json(const char *name)
{
    json_t *list = json_array();
    struct gr_entry_info *entries = calloc(ENTRIES_MAX, sizeof *entries);
    ssize_t count = entries ? gr_module_entries(name, entries, ENTRIES_MAX) : 0;
    for (ssize_t i = 0; i < count && i < ENTRIES_MAX; i++)
        json_array_append_new(list, json_pack("{s:o,s:o}", "name", api_json_string(entries[i].name),
                                              "doc", api_json_string(entries[i].doc)));
    free(entries);
    return list;
}

static json_t *text_json(const struct gr_module_info *info)
{
    return json_pack("[{s:o,s:o}]", "lo", api_json_hex(info->text_lo), "hi",
                     api_json_hex(info->text_hi));
}

/* Builds that were replaced and have goroutines left. */
static json_t *leaving_json(const char *name)
{
    json_t *list = json_array();
    struct gr_module_info *infos = calloc(LEAVING_MAX, sizeof *infos);
    size_t count = infos ? gr_module_leaving(name, infos, LEAVING_MAX) : 0;
    for (size_t i = 0; i < count && i < LEAVING_MAX; i++)
        json_array_append_new(
            list, json_pack("{s:o,s:o,s:o}", "build_id", api_json_string(infos[i].build_id), "live",
                            api_json_uint(infos[i].live), "text", text_json(&infos[i])));
    free(infos);
    return list;
}

static json_t *module_json(const struct gr_module_info *info)
{
    json_t *value = json_object();
    json_object_set_new(value, "name", api_json_string(info->name));
    json_object_set_new(value, "loaded", json_boolean(info->loaded));
    json_object_set_new(value, "path", api_json_string(info->path));
    if (!info->loaded) {
        json_object_set_new(value, "error", api_json_string(info->error));
        return value;
    }
    json_object_set_new(value, "build_id",
                        api_json_string(info->build_id[0] ? info->build_id : NULL));
    json_object_set_new(value, "entries", entries_json(info->name));
    json_object_set_new(value, "goroutines", json_string(info->wired ? "wired" : "free"));
    json_object_set_new(value, "wired_because",
                        api_json_string(info->wired ? info->wired_because : NULL));
    json_object_set_new(value, "text", text_json(info));
    json_object_set_new(value, "entry_checks", api_json_uint(info->entry_checks));
    json_object_set_new(value, "live", api_json_uint(info->live));
    json_object_set_new(value, "leaving", leaving_json(info->name));
    json_object_set_new(value, "kept_by", api_json_string(info->kept_by[0] ? info->kept_by : NULL));
    return value;
}

static json_t *note_json(const struct api_module_note *note)
{
    return json_pack("{s:o,s:b,s:o,s:o}", "name", api_json_string(note->name), "loaded", 0, "path",
                     api_json_string(note->path), "error", api_json_string(note->error));
}

/* ---- The list -------------------------------------------------------------------------------- */

struct module_item {
    uint64_t number;
    json_t *value;
};

struct module_walk {
    struct api_walk walk;
    struct module_item *items; /* all of them, ascending: few, so that a page is cut from the whole */
    size_t count, capacity;
    bool failed;
};

/*
 * A module's number in lists belongs to its name for good, in the order in which names came: what is loaded, replaced
 * or unloaded between two pages moves nobody. There are as many as the directory ever had names. 0: no memory.
 * notes_lock held.
 */
static uint64_t number_of(struct api *api, const char *name)
{
    for (size_t i = 0; i < api->module_name_count; i++)
        if (strcmp(api->module_names[i], name) == 0)
            return i + 1;
    char *copy = strdup(name);
    char **grown = copy ? reallocarray(api->module_names, api->module_name_count + 1, sizeof *grown)
                        : NULL;
    if (!grown) {
        free(copy);
        return 0;
    }
    api->module_names = grown;
    grown[api->module_name_count] = copy;
    return ++api->module_name_count;
}

/* notes_lock held. */
static void add_item(struct module_walk *w, const char *name, json_t *value)
{
    uint64_t number = number_of(w->walk.api, name);
    if (number && value && w->count < w->capacity)
        w->items[w->count++] = (struct module_item){number, value};
    else
        json_decref(value);
    w->failed |= !number || !value;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct module_item *)a)->number, y = ((const struct module_item *)b)->number;
    return x < y ? -1 : x > y;
}

/* False: no memory. */
static bool collect_modules(struct module_walk *w)
{
    struct api *api = w->walk.api;
    size_t room = gr_module_list(NULL, 0) + 16;
    struct gr_module_info *infos = calloc(room, sizeof *infos);
    if (!infos)
        return false;
    size_t count = gr_module_list(infos, room);
    count = count < room ? count : room;
    pthread_mutex_lock(&api->notes_lock);
    w->capacity = count + api->note_count;
    w->items = calloc(w->capacity + 1, sizeof *w->items);
    w->failed = !w->items;
    for (size_t i = 0; i < count && !w->failed; i++)
        add_item(w, infos[i].name, module_json(&infos[i]));
    for (size_t i = 0; i < api->note_count && !w->failed; i++)
        add_item(w, api->notes[i].name, note_json(&api->notes[i]));
    pthread_mutex_unlock(&api->notes_lock);
    free(infos);
    if (w->count)
        qsort(w->items, w->count, sizeof *w->items, by_number);
    return !w->failed;
}

static uint64_t module_next(struct api_walk *walk, json_t **item)
{
    struct module_walk *w = (struct module_walk *)walk;
    for (size_t i = 0; i < w->count; i++)
        if (w->items[i].number > walk->after) {
            *item = json_incref(w->items[i].value);
            return walk->after = w->items[i].number;
        }
    return 0;
}

static void module_walk_free(struct api_walk *walk)
{
    struct module_walk *w = (struct module_walk *)walk;
    for (size_t i = 0; i < w->count; i++)
        json_decref(w->items[i].value);
    free(w->items);
    free(w);
}

void api_handle_modules(struct api_call *call)
{
    struct module_walk *w = calloc(1, sizeof *w);
    if (!w) {
        api_problem_no_memory(call);
        return;
    }
    w->walk.next = module_next;
    w->walk.destroy = module_walk_free;
    bool begun = api_walk_begin(call, &w->walk);
    if (begun && collect_modules(w)) {
        api_list_reply(call, &w->walk);
        return;
    }
    if (begun)
        api_problem_no_memory(call);
    module_walk_free(&w->walk);
}

/* ---- Handlers -------------------------------------------------------------------------------- */

static json_t *find_module(struct api *api, const char *name)
{
    struct gr_module_info *info = calloc(1, sizeof *info);
    json_t *value = NULL;
    if (info && gr_module_info(name, info) == 0)
        value = module_json(info);
    free(info);
    if (value)
        return value;
    pthread_mutex_lock(&api->notes_lock);
    struct api_module_note *note = note_find(api, name);
    if (note)
        value = note_json(note);
    pthread_mutex_unlock(&api->notes_lock);
    return value;
}

void api_handle_module(struct api_call *call)
{
    json_t *value = find_module(call->api, call->name);
    if (value)
        api_reply_json(call, 200, value);
    else
        api_problem(call, 404, API_CODE_MODULE_NOT_LOADED,
                    "no module \"%.80s\" is loaded; GET /v1/modules lists them", call->name);
}

bool api_module_name_valid(const char *name)
{
    size_t size = strlen(name);
    if (size == 0 || size > GR_NAME_MAX || name[0] == '.' || name[0] == '-')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("_.-", *name))
            return false;
    return true;
}

static void load_problem(struct api_call *call, int err, const char *name, const char *why)
{
    if (err == -EPERM && why[0])
        api_problem(call, 409, API_CODE_MODULE_BUSY, "%s", why);
    else if (err == -EPERM)
        api_problem(call, 403, API_CODE_FORBIDDEN,
                    "this daemon was started without --modules, so it loads none");
    else if (err == -ENOENT)
        api_problem(call, 404, API_CODE_NOT_FOUND, "the module directory has no file %s.so", name);
    else if (err == -EBUSY)
        api_problem(call, 409, API_CODE_MODULE_CHANGED, "%s; send \"replace\":true to replace it", why);
    else if (err == -ENOMEM)
        api_problem_no_memory(call);
    else
        api_problem(call, 422, API_CODE_MODULE_REFUSED, "%s.so is refused: %s", name, why);
}

static bool is_loaded(const char *name)
{
    struct gr_module_info *info = malloc(sizeof *info);
    bool loaded = info && gr_module_info(name, info) == 0 && info->loaded;
    free(info);
    return loaded;
}

void api_handle_module_load(struct api_call *call)
{
    const char *name = api_body_string(call, "name");
    char why[512] = "";
    if (!api_module_name_valid(name)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "\"%.63s\" is no module name: give the file's name without .so and without a "
                    "path, of [A-Za-z0-9_.-]",
                    name);
        return;
    }
    bool replace = json_is_true(json_object_get(call->body, "replace"));
    bool was_loaded = replace && is_loaded(name);
    int err = call->api->host.load_module(call->api->host.ctx, name, replace, why, sizeof why);
    if (err < 0) {
        load_problem(call, err, name, why);
        return;
    }
    note_forget(call->api, name);
    if (err == 0) {
        api_event_module(call->api, name, was_loaded ? "replaced" : "loaded");
        api_buf_printf(&call->reply.headers, "Location: /v1/modules/%s\r\n", name);
    }
    api_reply_json(call, err == 0 ? 201 : 200, find_module(call->api, name));
}

void api_handle_module_unload(struct api_call *call)
{
    char why[512] = "";
    int err = gr_module_unload(call->name, why, sizeof why);
    bool noted = note_forget(call->api, call->name);
    if (err == -ENOENT && noted)
        err = 0;
    if (err == -ENOENT)
        api_problem(call, 404, API_CODE_MODULE_NOT_LOADED,
                    "no module \"%.80s\" is loaded; GET /v1/modules lists them", call->name);
    else if (err == -EBUSY || err == -EPERM)
        api_problem(call, 409, API_CODE_MODULE_BUSY, "%s", why);
    else if (err)
        api_problem_no_memory(call);
    else
        call->reply.status = 204;
    if (!err)
        api_event_module(call->api, call->name, "unloaded");
}
