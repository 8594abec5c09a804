/*
 * main.c: `grasp`: reads the command line, finds the daemon, hands over to a command.
 */
#include "cli.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- Help ------------------------------------------------------------------------------------- */

static void print_option(const struct cli_option *option)
{
    struct http_buf left = {0};
    if (option->letter)
        http_buf_printf(&left, "-%c, ", option->letter);
    else
        http_buf_str(&left, "    ");
    http_buf_printf(&left, "--%s%s%s", option->name, option->value ? " " : "",
                    option->value ? option->value : "");
    printf("  %-28s %s\n", left.data, option->help);
    http_buf_free(&left);
}

static void print_options(uint64_t options)
{
    for (size_t i = 0; i < CLI_OPTION_COUNT; i++)
        if (options >> i & 1)
            print_option(&cli_option_table[i]);
}

static void print_usage(void)
{
    printf("usage: grasp COMMAND [OPTIONS] [OPERANDS]\n\nCommands:\n");
    for (size_t i = 0; i < cli_command_count; i++)
        printf("  %-10s %s\n", cli_commands[i].name, cli_commands[i].summary);
    printf("\nOptions of every command:\n");
    print_options(CLI_BIT(SOCKET) | CLI_BIT(URL) | CLI_BIT(TOKEN_FILE) | CLI_BIT(OUTPUT) |
                  CLI_BIT(COLOR) | CLI_BIT(HELP) | CLI_BIT(VERSION));
    printf(
        "\nThe daemon is looked for in this order: options, GRASP_SOCKET or GRASP_URL, the config "
        "file\n(~/.config/grasp/config.json), the sockets of graspd and run.sh.\n"
        "`grasp COMMAND --help` says more; `man grasp` has the exit codes and examples.\n");
}

static void print_help(const struct cli_command *command)
{
    printf("usage: grasp %s [OPTIONS]%s%s\n\n%c%s.\n%s%s\n", command->name,
           *command->arguments ? " " : "", command->arguments,
           command->summary[0] >= 'a' && command->summary[0] <= 'z' ? command->summary[0] - 32
                                                                    : command->summary[0],
           command->summary + 1, command->help, *command->help ? "\n" : "");
    print_options(command->options);
}

/* For completion scripts: commands with summaries, or the options of one. */
static int print_rows(int argc, char **argv)
{
    const struct cli_command *command = argc > 0 ? cli_command_find(argv[0]) : NULL;
    for (size_t i = 0; argc == 0 && i < cli_command_count; i++)
        printf("%s:%s\n", cli_commands[i].name, cli_commands[i].summary);
    for (size_t i = 0; command && i < CLI_OPTION_COUNT; i++)
        if (command->options >> i & 1)
            printf("--%s:%s:%s\n", cli_option_table[i].name,
                   cli_option_table[i].value ? cli_option_table[i].value : "",
                   cli_option_table[i].help);
    return argc > 0 && !command ? CLI_USAGE : CLI_OK;
}

/* ---- How to print ----------------------------------------------------------------------------- */

static bool choose_output(struct cli *cli)
{
    static const char *const names[] = {"table", "wide", "json", "ndjson"};
    const char *wanted = cli->options.output;
    for (size_t i = 0; i < 4; i++) {
        if (wanted && strcmp(wanted, names[i]))
            continue;
        cli->output = wanted ? (enum cli_output)i : CLI_TABLE;
        return true;
    }
    cli_fail(cli, CLI_USAGE, "--output must be table, wide, json or ndjson, not \"%s\"", wanted);
    return false;
}

static bool choose_color(struct cli *cli)
{
    const char *wanted = cli->options.color ? cli->options.color : "auto";
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool plain = (no_color && *no_color) || !term || !*term || strcmp(term, "dumb") == 0;
    if (strcmp(wanted, "auto") == 0) {
        cli->color = cli->terminal && !plain;
        return true;
    }
    cli->color = strcmp(wanted, "always") == 0;
    if (cli->color || strcmp(wanted, "never") == 0)
        return true;
    cli_fail(cli, CLI_USAGE, "--color must be auto, always or never, not \"%s\"", wanted);
    return false;
}

/* A pipe has no width. COLUMNS rules over the terminal, so that one can try. */
static unsigned terminal_width(bool terminal)
{
    struct winsize size;
    uint64_t columns;
    const char *variable = getenv("COLUMNS");
    if (!terminal)
        return 0;
    if (variable && cli_parse_uint(variable, 20, 10000, &columns))
        return (unsigned)columns;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static bool prepare(struct cli *cli)
{
    cli->terminal = isatty(STDOUT_FILENO);
    cli->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    cli->width = terminal_width(cli->terminal);
    return choose_output(cli) && choose_color(cli);
}

/* ---- The command line ------------------------------------------------------------------------- */

static int check_operands(struct cli *cli, size_t count)
{
    const struct cli_command *command = cli->command;
    if (count >= command->args_min && count <= command->args_max)
        return CLI_OK;
    return cli_fail(cli, CLI_USAGE, "%s %s; usage: grasp %s %s", command->name,
                    count < command->args_min ? "needs more than that"
                    : command->args_max       ? "takes fewer operands"
                                              : "takes no operands",
                    command->name, command->arguments);
}

/* Fills cli from what stands behind the command's name; args has room for all of argv. */
static int parse(struct cli *cli, int argc, char **argv, char **args)
{
    char err[512];
    int read = cli_options_parse(&cli->options, cli->command->options, argc, argv, false, args,
                                 &cli->arg_count, err, sizeof err);
    if (read < 0)
        return cli_fail(cli, CLI_USAGE, "%s; `grasp %s --help` lists what there is", err,
                        cli->command->name);
    cli->args = args;
    cli->rest = argv + read;
    cli->rest_count = (size_t)(argc - read);
    if (!cli->command->takes_rest) {
        for (; read < argc; read++)
            args[cli->arg_count++] = argv[read];
        cli->rest_count = 0;
    }
    return CLI_OK;
}

static int run(struct cli *cli, int argc, char **argv, char **args)
{
    int result = parse(cli, argc, argv, args);
    if (result)
        return result;
    if (cli->options.help) {
        print_help(cli->command);
        return CLI_OK;
    }
    if (cli->options.version) {
        printf("grasp %s\n", GRASP_VERSION);
        return CLI_OK;
    }
    result = check_operands(cli, cli->arg_count);
    if (result || !prepare(cli) || !cli_connect(cli))
        return cli->failure;
    result = cli->command->run(cli);
    http_connection_close(&cli->connection);
    /* Output that got nowhere is a failure, too: a full disk, say. */
    if ((fflush(stdout) || ferror(stdout)) && result == CLI_OK)
        result = cli_fail(cli, CLI_LOCAL, "cannot write the output");
    return result;
}

/* Options may stand before the command as well. */
static int find_command(struct cli *cli, int argc, char **argv, char **args)
{
    uint64_t common = cli_command_find("show")->options;
    char err[512];
    size_t count;
    int read =
        cli_options_parse(&cli->options, common, argc, argv, true, args, &count, err, sizeof err);
    if (read < 0) {
        cli_fail(cli, CLI_USAGE, "%s; before the command there are only the common options", err);
        return -1;
    }
    cli->command = read < argc ? cli_command_find(argv[read]) : NULL;
    if (read < argc && !cli->command && strcmp(argv[read], "help") && argv[read][0] != '_')
        cli_fail(cli, CLI_USAGE, "there is no command \"%s\"; `grasp --help` lists them",
                 argv[read]);
    return read;
}

int main(int argc, char **argv)
{
    struct cli cli = {0};
    int result = CLI_USAGE;
    char **args = calloc((size_t)argc + 1, sizeof *args);
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C");
    cli_options_init(&cli.options);
    int at = args ? find_command(&cli, argc - 1, argv + 1, args) : -1;
    char **command = argv + 1 + at;
    int left = argc - 1 - at;
    if (at < 0 || cli.failure) {
        result = CLI_USAGE;
    } else if (cli.command) {
        result = run(&cli, left - 1, command + 1, args);
    } else if (left > 0 && strcmp(command[0], "__rows") == 0) {
        result = print_rows(left - 1, command + 1);
    } else if (left > 1 && cli_command_find(command[1])) {
        print_help(cli_command_find(command[1]));
        result = CLI_OK;
    } else if (cli.options.version) {
        printf("grasp %s\n", GRASP_VERSION);
        result = CLI_OK;
    } else {
        if (left <= 0 && !cli.options.help)
            dup2(STDERR_FILENO, STDOUT_FILENO); /* it is no answer but an error */
        print_usage();
        result = left > 0 || cli.options.help ? CLI_OK : CLI_USAGE;
    }
    cli_options_fini(&cli.options);
    free(args);
    return result;
}
