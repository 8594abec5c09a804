/*
 * cmd_run.c: `grasp run`: an entry, or C files: compiled, loaded, run, waited for.
 *
 * C files become a module in the daemon's module directory by a rename, so that the daemon never
 * sees half a file; that wants the directory on this machine. Then it is loaded with "replace": what
 * ran of an older build goes on as it is. The goroutine's log is printed while it runs, its result at
 * the end, and its exit code is ours. The first INT or TERM asks it to end, the second one leaves.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 128

/* ---- Compiling -------------------------------------------------------------------------------- */

static bool is_source(const char *name)
{
    size_t size = strlen(name);
    return size > 2 && strcmp(name + size - 2, ".c") == 0;
}

/* grasp-cc stands beside us; else PATH has it. */
static void find_compiler(char *out, size_t out_bytes)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;
    snprintf(out, out_bytes, "grasp-cc");
    if (size <= 0)
        return;
    self[size] = 0;
    slash = strrchr(self, '/');
    if (!slash)
        return;
    *slash = 0;
    struct http_buf beside = {0};
    http_buf_printf(&beside, "%s/grasp-cc", self);
    if (access(beside.data, X_OK) == 0)
        snprintf(out, out_bytes, "%s", beside.data);
    http_buf_free(&beside);
}

/* The daemon's module directory, as an absolute path that exists here. False: explained. */
static bool find_module_dir(struct cli *cli, char *out, size_t out_bytes)
{
    struct stat status;
    *out = 0;
    if (cli->options.module_dir) {
        snprintf(out, out_bytes, "%s", cli->options.module_dir);
    } else {
        json_t *runtime = cli_ask(cli, "GET", "/v1/runtime", NULL);
        if (!runtime)
            return false;
        snprintf(out, out_bytes, "%s", cli_string(runtime, "modules_dir"));
        json_decref(runtime);
    }
    if (*out && stat(out, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    cli_fail(cli, CLI_BEFORE,
             *out ? "the daemon's module directory %s is not on this machine: give --module-dir"
                  : "the daemon has no module directory%s: start it with --modules DIR",
             out);
    return false;
}

/* hello.c: hello. Without dir and ".c". */
static void module_name(const char *source, char *out, size_t out_bytes)
{
    const char *slash = strrchr(source, '/');
    const char *base = slash ? slash + 1 : source;
    snprintf(out, out_bytes, "%.*s", (int)(strlen(base) - 2), base);
}

static bool run_compiler(struct cli *cli, char *const *words)
{
    extern char **environ;
    pid_t pid;
    int status = 0, err = posix_spawnp(&pid, words[0], NULL, NULL, words, environ);
    if (err) {
        cli_fail(cli, CLI_BEFORE, "cannot run %s: %s", words[0], strerror(err));
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    cli_fail(cli, CLI_BEFORE, "%s did not compile it", words[0]);
    return false;
}

/*
 * The compiler's command line into words, which has room for WORDS_MAX. flags is taken apart; libraries among them, and what is
 * said to the linker between them, go behind the sources, where a linker looks at them.
 */
static void fill_command(struct cli *cli, char **words, char *compiler, char *flags, char *output,
                         size_t sources)
{
    char *rest = NULL, *library[WORDS_MAX / 4];
    size_t count = 0, libraries = 0;
    bool name_follows = false; /* "-l m" */
    words[count++] = compiler;
    for (char *word = strtok_r(flags, " \t", &rest); word && count < WORDS_MAX / 2;
         word = strtok_r(NULL, " \t", &rest)) {
        bool linker = strncmp(word, "-l", 2) == 0 || strncmp(word, "-Wl,", 4) == 0 || name_follows;
        name_follows = !name_follows && strcmp(word, "-l") == 0;
        if (linker && libraries < WORDS_MAX / 4)
            library[libraries++] = word;
        else
            words[count++] = word;
    }
    words[count++] = "-o";
    words[count++] = output;
    for (size_t i = 0; i < sources && count < WORDS_MAX - 1 - libraries; i++)
        words[count++] = cli->args[i];
    for (size_t i = 0; i < libraries; i++)
        words[count++] = library[i];
    words[count] = NULL;
}

/* sources into dir/name.so, by way of a directory of our own, in which no daemon looks. */
static bool compile(struct cli *cli, const char *dir, const char *name, size_t sources)
{
    char compiler[PATH_MAX], *words[WORDS_MAX];
    struct http_buf own = {0}, made = {0}, final = {0};
    http_buf_printf(&own, "%s/.%s.XXXXXX", dir, name);
    bool good = mkdtemp(own.data) != NULL;
    http_buf_printf(&made, "%s/%s.so", own.data, name);
    http_buf_printf(&final, "%s/%s.so", dir, name);
    if (!good)
        cli_fail(cli, CLI_BEFORE, "cannot write to the module directory %s: %s", dir,
                 strerror(errno));
    if (good) {
        char *flags = strdup(cli->options.cc_flags ? cli->options.cc_flags : "-O2 -g");
        find_compiler(compiler, sizeof compiler);
        fill_command(cli, words, compiler, flags, made.data, sources);
        good = run_compiler(cli, words);
        free(flags);
    }
    if (good && (chmod(made.data, 0755) || rename(made.data, final.data))) {
        cli_fail(cli, CLI_BEFORE, "cannot make %s: %s", final.data, strerror(errno));
        good = false;
    }
    unlink(made.data);
    rmdir(own.data);
    http_buf_free(&own);
    http_buf_free(&made);
    http_buf_free(&final);
    return good;
}

/* ---- What to run ------------------------------------------------------------------------------ */

struct job {
    char module[256], entry[256];
    const char *args; /* JSON text, NULL: none */
};

/* The entry that is asked for, or the only one. */
static bool choose_entry(struct cli *cli, struct job *job, const json_t *module)
{
    json_t *entries = json_object_get(module, "entries"), *entry;
    struct http_buf names = {0};
    size_t i, count = json_array_size(entries);
    const char *wanted = cli->options.entry;
    if (!wanted && count == 1)
        wanted = cli_string(json_array_get(entries, 0), "name");
    if (wanted) {
        snprintf(job->entry, sizeof job->entry, "%s", wanted);
        return true;
    }
    json_array_foreach(entries, i, entry)
        http_buf_printf(&names, "%s%s", i ? ", " : "", cli_string(entry, "name"));
    cli_fail(cli, CLI_BEFORE,
             count ? "module %s has more than one entry; choose with --entry: %s"
                   : "module %s has no entry%s: add GR_ENTRY(\"name\", function, \"what it does\")",
             job->module, count ? names.data : "");
    http_buf_free(&names);
    return false;
}

static bool prepare_sources(struct cli *cli, struct job *job)
{
    char dir[PATH_MAX];
    size_t sources = 0;
    while (sources < cli->arg_count && is_source(cli->args[sources]))
        sources++;
    module_name(cli->args[0], job->module, sizeof job->module);
    job->args = sources < cli->arg_count ? cli->args[sources] : NULL;
    if (sources + 1 < cli->arg_count) {
        cli_fail(cli, CLI_USAGE,
                 "\"%s\" is one argument too many: after the sources comes one JSON value",
                 cli->args[sources + 1]);
        return false;
    }
    if (!find_module_dir(cli, dir, sizeof dir) || !compile(cli, dir, job->module, sources))
        return false;
    json_t *module = cli_ask(cli, "POST", "/v1/modules",
                             json_pack("{s:s,s:b}", "name", job->module, "replace", 1));
    bool good = module && choose_entry(cli, job, module);
    json_decref(module);
    return good;
}

/* A file whose name ends in something else: no module is called like that. */
static bool is_other_file(const char *name)
{
    struct stat status;
    const char *slash = strrchr(name, '/');
    return strchr(slash ? slash : name, '.') && stat(name, &status) == 0 && S_ISREG(status.st_mode);
}

/* MODULE/ENTRY [ARGS]. */
static bool prepare_entry(struct cli *cli, struct job *job)
{
    const char *slash = strchr(cli->args[0], '/');
    if (is_other_file(cli->args[0])) {
        cli_fail(cli, CLI_USAGE,
                 "\"%s\" is not a C file: only files that end in .c are compiled (C++ cannot be)",
                 cli->args[0]);
        return false;
    }
    size_t size = slash ? (size_t)(slash - cli->args[0]) : strlen(cli->args[0]);
    if (size == 0 || size >= sizeof job->module || (slash && !slash[1]) || cli->arg_count > 2) {
        cli_fail(
            cli, CLI_USAGE,
            "what is to run is MODULE/ENTRY, or files that end in .c, and behind it at most one "
            "JSON value");
        return false;
    }
    snprintf(job->module, sizeof job->module, "%.*s", (int)size, cli->args[0]);
    job->args = cli->arg_count > 1 ? cli->args[1] : NULL;
    if (slash) {
        snprintf(job->entry, sizeof job->entry, "%s", slash + 1);
        return true;
    }
    struct http_buf path = {0};
    http_buf_str(&path, "/v1/modules/");
    http_buf_quoted(&path, job->module);
    json_t *module = cli_ask(cli, "GET", path.data, NULL);
    bool good = module && choose_entry(cli, job, module);
    json_decref(module);
    http_buf_free(&path);
    return good;
}

/* "k=v" of each --label into body. */
static bool add_labels(struct cli *cli, json_t *body)
{
    const struct cli_list *list = &cli->options.labels;
    json_t *labels = json_object();
    for (size_t i = 0; i < list->count; i++) {
        char *equals = strchr(list->items[i], '=');
        if (!equals || equals == list->items[i]) {
            cli_fail(cli, CLI_USAGE, "--label must be KEY=VALUE, not \"%s\"", list->items[i]);
            json_decref(labels);
            return false;
        }
        *equals = 0;
        json_object_set_new(labels, list->items[i], json_string(equals + 1));
        *equals = '=';
    }
    json_object_set_new(body, "labels", labels);
    return true;
}

/* The body of the spawn; NULL: explained. */
static json_t *spawn_body(struct cli *cli, const struct job *job)
{
    json_error_t error;
    json_t *body = json_pack("{s:s,s:s}", "module", job->module, "entry", job->entry);
    json_t *args =
        job->args ? json_loads(job->args, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error) : NULL;
    if (!body || (job->args && !args)) {
        cli_fail(cli, CLI_USAGE, "the argument \"%s\" is not JSON: %s", job->args ? job->args : "",
                 body ? error.text : "not UTF-8");
        json_decref(body);
        return NULL;
    }
    if (args)
        json_object_set_new(body, "args", args);
    if (cli->options.count != CLI_UNSET)
        json_object_set_new(body, "count", json_integer((json_int_t)cli->options.count));
    if (cli->options.labels.count && !add_labels(cli, body)) {
        json_decref(body);
        return NULL;
    }
    return body;
}

/* ---- Running ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    asked_to_stop++;
    http_interrupt();
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL); /* open only where the connection waits */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void cancel(struct cli *cli, uint64_t id)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64, id);
    http_interrupt_clear();
    fprintf(stderr, "grasp: asking goroutine %" PRIu64 " to end (once more: leave it)\n", id);
    json_decref(cli_ask(cli, "DELETE", path, NULL));
}

/* What a dead goroutine left; its exit code as ours. */
static int finish(struct cli *cli, const json_t *g)
{
    const json_t *end = json_object_get(g, "exit");
    const json_t *result = json_object_get(end, "result");
    json_int_t code = json_integer_value(json_object_get(end, "code"));
    if (cli_wants_json(cli))
        cli_print_json(cli, g);
    else if (result && !json_is_null(result))
        cli_print_json(cli, result);
    if (strcmp(cli_string(end, "reason"), "cancelled") == 0)
        fprintf(stderr, "grasp: goroutine %" PRIu64 " was cancelled\n", cli_number(g, "id"));
    return code >= 0 && code <= 255 ? (int)code : 1;
}

/* The log goes to stderr if stdout is to be JSON. */
static int follow(struct cli *cli, uint64_t id)
{
    uint64_t from = 0;
    int stops = 0;
    enum cli_output output = cli->output;
    for (;;) { /* ends with the goroutine, or by two signals */
        cli->output = CLI_TABLE;
        json_t *g = cli_follow_log(cli, id, &from);
        cli->output = output;
        if (!g && !asked_to_stop) {
            if (cli->failure == CLI_UNREACHABLE)
                fprintf(stderr,
                        "grasp: if a module crashed the daemon, its report is in the daemon's log "
                        "and state directory\n");
            return CLI_BEFORE;
        }
        if (g && strcmp(cli_string(g, "state"), "dead") == 0) {
            int code = finish(cli, g);
            json_decref(g);
            return code;
        }
        json_decref(g);
        if (asked_to_stop > 1)
            return 130;
        if (asked_to_stop > stops) {
            stops = asked_to_stop;
            cancel(cli, id);
        }
    }
}

int cli_run(struct cli *cli)
{
    struct job job = {0};
    bool sources = is_source(cli->args[0]);
    if (sources ? !prepare_sources(cli, &job) : !prepare_entry(cli, &job))
        return cli->failure == CLI_USAGE ? CLI_USAGE : CLI_BEFORE;
    json_t *body = spawn_body(cli, &job);
    if (!body)
        return CLI_USAGE;
    catch_signals();
    json_t *answer = cli_ask(cli, "POST", "/v1/goroutines", body);
    if (!answer)
        return CLI_BEFORE;
    json_t *ids = json_object_get(answer, "ids");
    uint64_t id = (uint64_t)json_integer_value(json_array_get(ids, 0));
    size_t count = json_array_size(ids);
    if (cli->options.detach || count > 1) {
        if (cli_wants_json(cli))
            cli_print_json(cli, answer);
        else if (count > 1)
            printf("%" PRIu64 "..%" PRIu64 "\n", id,
                   (uint64_t)json_integer_value(json_array_get(ids, count - 1)));
        else
            printf("%" PRIu64 "\n", id);
        json_decref(answer);
        return CLI_OK;
    }
    json_decref(answer);
    return follow(cli, id);
}
