/*
 * commands.c: the commands of `grasp`, a row each; main, help and completion read them.
 */
#include "cli.h"

#include <string.h>

#define COMMON                                                                                     \
    (CLI_BIT(SOCKET) | CLI_BIT(URL) | CLI_BIT(TOKEN_FILE) | CLI_BIT(OUTPUT) | CLI_BIT(COLOR) |     \
     CLI_BIT(HELP) | CLI_BIT(VERSION))
#define FILTERS                                                                                    \
    (CLI_BIT(SELECTOR) | CLI_BIT(MODULE) | CLI_BIT(ENTRY) | CLI_BIT(STATE) | CLI_BIT(ROOT) |       \
     CLI_BIT(SUSPENDED))
#define CHOICE                                                                                     \
    (CLI_BIT(SELECTOR) | CLI_BIT(MODULE) | CLI_BIT(ROOT) | CLI_BIT(ALL) | CLI_BIT(EXCEPT) |        \
     CLI_BIT(REQUIRE_ALL))
#define HOLDING (CLI_BIT(LEASE) | CLI_BIT(TIMEOUT) | CLI_BIT(OWNER) | CLI_BIT(REASON))
#define MANY    1000 /* operands */

const struct cli_command cli_commands[] = {
    {"ps", "", "list goroutines",
     "The living ones; with --all also those that have ended. On a terminal the table is made to\n"
     "fit; -o wide cuts nothing.",
     COMMON | FILTERS | CLI_BIT(ALL) | CLI_BIT(SORT), 0, 0, false, cli_ps},
#ifdef GRASP_HAS_TOP
    {"top", "", "watch goroutines on the whole screen",
     "Keys: arrows move, s sorts, / filters by text, t by state, space freezes, Enter shows the\n"
     "stack, z suspends, r resumes, ? helps, q ends.",
     COMMON | FILTERS | CLI_BIT(SORT) | CLI_BIT(INTERVAL), 0, 0, false, cli_top},
#endif
    {"run", "MODULE/ENTRY | FILE.c... [JSON]", "run an entry, or C files, and wait for the end",
     "C files are compiled with grasp-cc into the daemon's module directory and loaded. The log "
     "is\n"
     "printed as it comes, the result at the end; the goroutine's exit code is that of grasp. The\n"
     "first Ctrl-C asks the goroutine to end. With --count over 1, as with --detach, ids are\n"
     "printed and nothing is waited for.",
     COMMON | CLI_BIT(ENTRY) | CLI_BIT(LABEL) | CLI_BIT(COUNT) | CLI_BIT(DETACH) |
         CLI_BIT(CC_FLAGS) | CLI_BIT(MODULE_DIR),
     1, MANY, false, cli_run},
    {"show", "ID", "everything about one goroutine", "", COMMON, 1, 1, false, cli_show},
    {"log", "ID", "what a goroutine and its children wrote with gr_log", "",
     COMMON | CLI_BIT(FOLLOW), 1, 1, false, cli_log},
    {"stack", "ID...", "where goroutines are: their call stacks", "", COMMON, 1, MANY, false,
     cli_stack},
    {"snapshot", "ID | SELECTION", "registers and stack of one, or a saved cut of many",
     "One ID is copied and shown. A selection (several ids, -l, --module, --root, --all) is\n"
     "stopped together, copied, released, and saved by the daemon.",
     COMMON | CHOICE | CLI_BIT(TIMEOUT) | CLI_BIT(BYTES) | CLI_BIT(VECTORS), 0, MANY, false,
     cli_snapshot},
    {"snapshots", "[ID]", "saved snapshots: list, show, delete",
     "--kind folded or core writes that form of it to stdout or to -O FILE.",
     COMMON | CLI_BIT(DELETE) | CLI_BIT(KIND) | CLI_BIT(FILE), 0, 1, false, cli_snapshots},
    {"suspend", "ID | SELECTION", "stop goroutines and hold them",
     "They are held until the lease ends (30 s), or until `grasp resume`. Several ids, or a\n"
     "selection by -l, --module, --root or --all, are one suspension.",
     COMMON | CHOICE | HOLDING, 0, MANY, false, cli_suspend},
    {"resume", "ID... | -S SUSPENSION", "let goroutines run again",
     "For a goroutine: releases your newest hold of it; with --all everybody's. With -S alone:\n"
     "releases the whole suspension.",
     COMMON | CLI_BIT(SUSPENSION) | CLI_BIT(ALL), 0, MANY, false, cli_resume},
    {"holds", "[SUSPENSION]", "who holds what, until when", "", COMMON, 0, 1, false, cli_holds},
    {"renew", "SUSPENSION", "prolong a lease", "", COMMON | CLI_BIT(LEASE), 1, 1, false, cli_renew},
    {"hold", "ID... | SELECTION -- COMMAND...", "hold goroutines while a command runs",
     "The lease is renewed while the command runs; its end, or a signal, releases. The exit code\n"
     "is the command's.",
     COMMON | CHOICE | HOLDING, 0, MANY, true, cli_hold},
    {"cancel", "ID...", "ask goroutines to end", "", COMMON, 1, MANY, false, cli_cancel},
    {"watch", "", "events as they happen",
     "A broken stream is taken up again where it broke. --count N ends after N events.",
     COMMON | CLI_BIT(TYPES) | CLI_BIT(SELECTOR) | CLI_BIT(COUNT), 0, 0, false, cli_watch},
    {"modules", "[NAME]", "what is loaded, and its entries", "", COMMON, 0, 1, false, cli_modules},
    {"load", "NAME", "load a module from the daemon's module directory", "",
     COMMON | CLI_BIT(REPLACE), 1, 1, false, cli_load},
    {"unload", "NAME", "unload a module of which nothing lives", "", COMMON, 1, 1, false,
     cli_unload},
    {"runtime", "", "the runtime's figures; set processors, slice, signals", "",
     COMMON | CLI_BIT(PROCS) | CLI_BIT(TIME_SLICE_US) | CLI_BIT(ASYNC_PREEMPT), 0, 0, false,
     cli_runtime},
    {"core", "ID", "an ELF core of one goroutine, for gdb", "To core.ID, or to -O FILE.",
     COMMON | CLI_BIT(FILE), 1, 1, false, cli_core},
    {"gdb", "ID... | -l SELECTOR [-- GDB-ARGUMENTS]", "gdb on goroutines, while the rest runs",
     "They are held as long as gdb is attached. --relay is for a gdb that runs already:\n"
     "target remote | grasp gdb --relay 7",
     COMMON | CLI_BIT(SELECTOR) | CLI_BIT(TIMEOUT) | CLI_BIT(GDB) | CLI_BIT(RELAY), 0, MANY, true,
     cli_gdb},
    {"profile", "", "a pprof profile of goroutines",
     "--kind cpu (5 s unless --seconds) or goroutine; --text shows the latter's stacks.",
     COMMON | CLI_BIT(FILE) | CLI_BIT(SECONDS) | CLI_BIT(KIND) | CLI_BIT(TEXT), 0, 0, false,
     cli_profile},
    {"trace", "", "a scheduler trace for Perfetto",
     "To trace.json, or to -O FILE; 2 s unless --seconds.",
     COMMON | CLI_BIT(FILE) | CLI_BIT(SECONDS), 0, 0, false, cli_trace},
    {"api", "METHOD PATH [BODY | @FILE | -]", "one call of the HTTP API, as it is", "",
     COMMON | CLI_BIT(HEADERS) | CLI_BIT(HEADER), 2, 3, false, cli_api},
};
const size_t cli_command_count = sizeof cli_commands / sizeof cli_commands[0];

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}
