/*
 * main.c: `grasp-load`: reads the command line, runs the plan, reports.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "place.h"

/* grasp-load(1), "EXIT STATUS". */
enum {
    EXIT_FINE = 0,
    EXIT_EXPECTATION = 1,
    EXIT_WRONG_USE = 2,
    EXIT_NO_DAEMON = 3,
    EXIT_PROOF = 4
};

static const char usage[] =
    "usage: grasp-load [OPTIONS] [PATH]\n"
    "\n"
    "Puts load on a Grasp daemon: GET PATH (/healthz), or a scenario.\n"
    "\n"
    "  -c N              connections (10)\n"
    "  -t N              threads (2)\n"
    "  -d TIME           for how long, as 30s or 2m (10s)\n"
    "  -n N              requests; with -d what comes first\n"
    "  -R RATE           open loop: so many operations a second, latency from the time each was "
    "due\n"
    "  -s, --scenario FILE   a mix of operations, as JSON; man grasp-load has the form\n"
    "  --expect EXPR     as p99<5ms, suspend.p99.9<20ms, errors==0, rate>1000; may be given again\n"
    "  -o FORMAT         text, json or csv (text)\n"
    "  --svg FILE        latency curves as a picture\n"
    "  --timeout TIME    for one answer (10s)\n"
    "  --prove TIME      at the end, for each goroutine to be free and to move (30s)\n"
    "  --seed N          the choice of operations and goroutines\n"
    "  -q, --quiet       no progress line\n"
    "  --socket PATH, --url URL, --token-file FILE   where the daemon is; else as grasp finds it\n"
    "  --version, -h, --help\n"
    "\n"
    "Exit status: 0 fine; 1 an expectation failed; 2 wrong use; 3 no daemon; 4 goroutines were "
    "left\n"
    "held or standing still.\n";

static _Atomic(bool) stop;

static void on_signal(int number)
{
    (void)number;
    /* Relaxed: only the flag itself is told. */
    atomic_store_explicit(&stop, true, memory_order_relaxed);
}

struct command {
    struct load_plan plan;
    struct place_flags flags;
    const char *scenario, *output, *svg;
    double rate;
    bool quiet, given_connections, given_threads, given_seconds, given_requests;
    char err[1024];
};

static int wrong(struct command *command, const char *option, const char *value, const char *what)
{
    snprintf(command->err, sizeof command->err, "%s must be %s, not \"%s\"", option, what, value);
    return -EINVAL;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out >= min && *out <= max;
}

enum {
    OPT_EXPECT = 256,
    OPT_SVG,
    OPT_TIMEOUT,
    OPT_PROVE,
    OPT_SEED,
    OPT_SOCKET,
    OPT_URL,
    OPT_TOKEN,
    OPT_VERSION
};

static int set_limits(struct command *command, int option, const char *value)
{
    struct load_plan *plan = &command->plan;
    uint64_t number = 0;
    char *end;
    switch (option) {
    case 'c':
        if (!parse_number(value, 1, 10000, &number))
            return wrong(command, "-c", value, "a number from 1 to 10000");
        plan->connections = (unsigned)number;
        return 0;
    case 't':
        if (!parse_number(value, 1, 64, &number))
            return wrong(command, "-t", value, "a number from 1 to 64");
        plan->threads = (unsigned)number;
        return 0;
    case 'n':
        return parse_number(value, 1, UINT64_C(1) << 53, &plan->requests)
                   ? 0
                   : wrong(command, "-n", value, "a number above 0");
    case 'd':
        return load_parse_seconds(value, &plan->seconds) && plan->seconds > 0
                   ? 0
                   : wrong(command, "-d", value, "a time such as 30s or 2m");
    default:
        command->rate = strtod(value, &end);
        return end != value && !*end && command->rate > 0 && command->rate <= 1e7
                   ? 0
                   : wrong(command, "-R", value, "a number above 0 and at most 10000000");
    }
}

static int set_other(struct command *command, int option, const char *value)
{
    struct load_plan *plan = &command->plan;
    double seconds = 0;
    switch (option) {
    case OPT_EXPECT:
        if (plan->expect_count == LOAD_EXPECT_MAX)
            return wrong(command, "--expect", value, "given at most 16 times");
        return load_expect_parse(&plan->expect[plan->expect_count++], value, command->err,
                                 sizeof command->err);
    case OPT_PROVE:
        if (!load_parse_seconds(value, &plan->prove_seconds) || plan->prove_seconds < 0.001 ||
            plan->prove_seconds > 3600)
            return wrong(command, "--prove", value, "a time from 1ms to 1h");
        return 0;
    case OPT_TIMEOUT:
        if (!load_parse_seconds(value, &seconds) || seconds < 0.001 || seconds > 3600)
            return wrong(command, "--timeout", value, "a time from 1ms to 1h");
        plan->timeout_ms = (uint64_t)(seconds * 1000);
        return 0;
    case OPT_SEED:
        return parse_number(value, 0, UINT64_C(1) << 53, &plan->seed)
                   ? 0
                   : wrong(command, "--seed", value, "a number");
    case 'o':
        command->output = value;
        return strcmp(value, "text") && strcmp(value, "json") && strcmp(value, "csv")
                   ? wrong(command, "-o", value, "text, json or csv")
                   : 0;
    case 's':
        command->scenario = value;
        return 0;
    case OPT_SVG:
        command->svg = value;
        return 0;
    case OPT_SOCKET:
        command->flags.socket = value;
        return 0;
    case OPT_URL:
        command->flags.url = value;
        return 0;
    case OPT_TOKEN:
        command->flags.token_file = value;
        return 0;
    default:
        command->quiet = true;
        return 0;
    }
}

static const struct option options[] = {{"scenario", required_argument, NULL, 's'},
                                        {"expect", required_argument, NULL, OPT_EXPECT},
                                        {"svg", required_argument, NULL, OPT_SVG},
                                        {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                        {"prove", required_argument, NULL, OPT_PROVE},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"quiet", no_argument, NULL, 'q'},
                                        {"socket", required_argument, NULL, OPT_SOCKET},
                                        {"url", required_argument, NULL, OPT_URL},
                                        {"token-file", required_argument, NULL, OPT_TOKEN},
                                        {"version", no_argument, NULL, OPT_VERSION},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};
static const char letters[] = ":c:t:d:n:R:s:o:qh";

/* First what is not a limit (the scenario among it), then limits: the command line rules. */
static int read_options(struct command *command, int argc, char **argv, bool limits)
{
    int option, result = 0;
    optind = 0;
    opterr = 0;
    while (!result && (option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(EXIT_FINE);
        } else if (option == OPT_VERSION) {
            printf("grasp-load %s\n", GRASP_VERSION);
            exit(EXIT_FINE);
        } else if (option == '?' || option == ':') {
            snprintf(command->err, sizeof command->err, "%s %s; grasp-load --help lists options",
                     argv[optind - 1], option == ':' ? "needs a value" : "is no option");
            return -EINVAL;
        }
        bool limit = option < 256 && strchr("ctdnR", option);
        if (limit == limits)
            result =
                limit ? set_limits(command, option, optarg) : set_other(command, option, optarg);
    }
    return result;
}

static int read_scenario(struct command *command)
{
    json_error_t error;
    char why[512];
    json_t *scenario = strcmp(command->scenario, "-")
                           ? json_load_file(command->scenario, JSON_REJECT_DUPLICATES, &error)
                           : json_loadf(stdin, JSON_REJECT_DUPLICATES, &error);
    int result = -EINVAL;
    if (!scenario)
        snprintf(command->err, sizeof command->err, "%s: line %d: %s", command->scenario,
                 error.line, error.text);
    else if ((result = load_plan_read(&command->plan, scenario, why, sizeof why)))
        snprintf(command->err, sizeof command->err, "%s: %s", command->scenario, why);
    json_decref(scenario);
    return result;
}

static int read_command(struct command *command, int argc, char **argv)
{
    struct load_plan *plan = &command->plan;
    plan->connections = 10;
    plan->threads = 2;
    plan->timeout_ms = 10000;
    plan->prove_seconds = 30;
    command->output = "text";
    if (getrandom(&plan->seed, sizeof plan->seed, 0) != sizeof plan->seed)
        plan->seed = load_now_ns();
    plan->seed &= 0xffffffff;
    int result = read_options(command, argc, argv, false);
    if (!result && command->scenario && optind < argc) {
        snprintf(command->err, sizeof command->err,
                 "a scenario and a PATH are two plans; give one");
        result = -EINVAL;
    }
    if (!result && optind + 1 < argc) {
        snprintf(command->err, sizeof command->err, "there is more than one PATH");
        result = -EINVAL;
    }
    const char *path = optind < argc ? argv[optind] : "/healthz";
    if (!result && (path[0] != '/' || strpbrk(path, " \r\n")))
        result = wrong(command, "PATH", path, "a path such as /v1/goroutines?limit=10");
    if (!result && command->scenario)
        result = read_scenario(command);
    else if (!result)
        load_plan_get(plan, path);
    if (!result)
        result = read_options(command, argc, argv, true);
    if (!result && command->rate > 0) {
        plan->ramp[0] = (struct load_ramp){command->rate, command->rate, 1e9};
        plan->ramp_count = 1;
    }
    if (!result)
        result = load_plan_check(plan, command->err, sizeof command->err);
    return result ? result : load_expect_check(plan, command->err, sizeof command->err);
}

static int write_svg(const struct load_report *report, const char *path)
{
    struct http_buf out = {0};
    FILE *file = fopen(path, "we");
    load_report_svg(report, &out);
    bool good = file && fwrite(out.data, 1, out.size, file) == out.size;
    good = (file ? fclose(file) == 0 : false) && good;
    if (!good)
        fprintf(stderr, "grasp-load: cannot write %s: %s\n", path, strerror(errno));
    http_buf_free(&out);
    return good ? 0 : -1;
}

static void print_report(const struct load_report *report, const char *format)
{
    struct http_buf out = {0};
    if (strcmp(format, "json") == 0) {
        json_t *value = load_report_json(report);
        json_dumpf(value, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(value);
        return;
    }
    if (strcmp(format, "csv") == 0)
        load_report_csv(report, &out);
    else
        load_report_text(report, &out);
    fwrite(out.data, 1, out.size, stdout);
    http_buf_free(&out);
}

static int report_all(struct command *command, const struct load_stats *stats,
                      const struct load_proof *proof)
{
    const struct load_plan *plan = &command->plan;
    struct load_report report = {.plan = plan, .stats = stats, .proof = proof};
    struct load_figures *total = calloc(1, sizeof *total);
    double value;
    for (size_t i = 0; i < plan->expect_count; i++)
        report.failed_expectations += !load_expect_holds(plan, stats, &plan->expect[i], &value);
    print_report(&report, command->output);
    int result = command->svg && write_svg(&report, command->svg) ? EXIT_WRONG_USE : EXIT_FINE;
    if (!total)
        abort();
    load_total(plan, stats, total);
    bool nothing = total->answered == 0;
    free(total);
    if (report.failed_expectations)
        result = EXIT_EXPECTATION;
    if (nothing)
        result = EXIT_NO_DAEMON;
    if (plan->id_count && (!proof->done || proof->held || proof->still))
        result = EXIT_PROOF;
    return result;
}

static int run(struct command *command)
{
    struct load_plan *plan = &command->plan;
    struct load_stats *stats = calloc(1, sizeof *stats);
    struct load_live live = {0};
    struct load_proof proof = {0};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    int result = EXIT_NO_DAEMON;
    if (!stats)
        return result;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    snprintf(plan->label, sizeof plan->label, "%d-%" PRIu64, (int)getpid(), plan->seed);
    if (load_goroutines_start(plan, command->err, sizeof command->err)) {
        fprintf(stderr, "grasp-load: %s\n", command->err);
    } else {
        int err = load_run(plan, stats, &live, &stop, !command->quiet && isatty(STDERR_FILENO));
        if (err)
            fprintf(stderr, "grasp-load: %s\n", strerror(-err));
        load_goroutines_prove(plan, &proof);
        if (!err)
            result = report_all(command, stats, &proof);
    }
    load_goroutines_end(plan);
    free(stats);
    return result;
}

int main(int argc, char **argv)
{
    struct command *command = calloc(1, sizeof *command);
    if (!command)
        return EXIT_WRONG_USE;
    int result = EXIT_WRONG_USE;
    if (read_command(command, argc, argv)) {
        fprintf(stderr, "grasp-load: %s\n", command->err);
    } else {
        int err = place_find(&command->plan.place, &command->flags, NULL, 0, command->err,
                             sizeof command->err);
        if (err) {
            fprintf(stderr, "grasp-load: %s\n", command->err);
            result = err == -ENOENT ? EXIT_NO_DAEMON : EXIT_WRONG_USE;
        } else {
            result = run(command);
        }
    }
    load_plan_fini(&command->plan);
    free(command);
    return result;
}
