/*
 * main.c: what grasp-cc does, mode by mode.
 *
 * A line that compiles and links is split: each source becomes an object in a temporary folder, and
 * then everything is linked. So an object that may not be in a module is named, whether the user
 * compiled it before or just now. The link goes to a temporary name beside the output, is checked
 * and rewritten there, and takes the output's name only when it is a module; a daemon that has the
 * old file mapped keeps it.
 */
#include "grasp_cc.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#include "builtin.h"

static const char usage[] =
    "usage: grasp-cc [options of the C compiler] FILE…\n"
    "\n"
    "  grasp-cc -O2 -o NAME.so FILE.c…   a module for graspd: -shared is implied\n"
    "  grasp-cc -O2 -o PROG FILE.c…      a program that embeds Grasp (grasp/server.h)\n"
    "  grasp-cc -O2 -c FILE.c            an object for either\n"
    "  grasp-cc -r -o ALL.o FILE.o…      one object from several\n"
    "\n"
    "  --asm-ok         assembly and objects not compiled by grasp-cc may be linked;\n"
    "                   goroutines inside them are stopped late or not at all\n"
    "  --show           print the commands that are run\n"
    "  --print-cflags   the flags for compiling, for builds that call the compiler themselves\n"
    "  --print-libs     the flags for linking (the entries still need grasp-cc's own link)\n"
    "  --version, --help\n"
    "\n"
    "Environment: GRASP_CC names the compiler, gcc or clang (default: " GRASP_DEFAULT_CC ").\n"
    "Exit code: the compiler's if it failed, 1 if grasp-cc refused, else 0.\n";

/* ---- Messages and temporary files ------------------------------------------------------------ */

static struct cc_list temporaries;
static char temporary_folder[4096];

static void say(const char *fmt, va_list ap)
{
    fputs("grasp-cc: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void cc_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

static _Noreturn void finish(int code)
{
    cc_temporaries_remove();
    exit(code);
}

void cc_refuse(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    finish(1);
}

void cc_temporary_add(const char *path)
{
    cc_list_add(&temporaries, path);
}

const char *cc_temporary(const char *stem, const char *suffix)
{
    static unsigned serial;
    if (!temporary_folder[0]) {
        const char *dir = getenv("TMPDIR");
        char path[sizeof(temporary_folder)];
        snprintf(path, sizeof(path), "%s/grasp-cc-XXXXXX", dir && *dir ? dir : "/tmp");
        if (!mkdtemp(path))
            cc_refuse("cannot make a temporary folder %s: %s", path, strerror(errno));
        memcpy(temporary_folder, path, sizeof(path));
    }
    const char *path = cc_text("%s/%s-%u%s", temporary_folder, stem, serial++, suffix);
    cc_temporary_add(path);
    return path;
}

bool cc_is_temporary(const char *path)
{
    for (size_t i = 0; i < temporaries.count; i++)
        if (strcmp(temporaries.at[i], path) == 0)
            return true;
    return false;
}

void cc_temporaries_remove(void)
{
    for (size_t i = 0; i < temporaries.count; i++)
        unlink(temporaries.at[i]);
    if (temporary_folder[0])
        rmdir(temporary_folder);
}

/* The compiler gets the signal too; waiting for its end is what lets us remove what it leaves. */
static void ignore_interrupts(void)
{
    for (size_t i = 0; i < sizeof(cc_interrupts) / sizeof(cc_interrupts[0]); i++)
        signal(cc_interrupts[i], SIG_IGN);
}

/* ---- Compiling ------------------------------------------------------------------------------- */

static void begin(struct cc_list *argv, const struct cc_toolchain *tools)
{
    cc_list_add_all(argv, &tools->compiler);
    cc_flags_before(argv, tools);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *stem_of(const char *path)
{
    const char *base = base_name(path);
    const char *dot = strrchr(base, '.');
    return cc_text("%.*s", (int)(dot && dot != base ? (size_t)(dot - base) : strlen(base)), base);
}

/* As given, with our flags; then the objects are looked at, so that what is wrong is said early. */
static int compile(const struct cc_toolchain *tools, const struct cc_command *command)
{
    struct cc_list argv = {0}, objects = {0};
    begin(&argv, tools);
    cc_list_add(&argv, "-c");
    if (command->output) {
        cc_list_add(&argv, "-o");
        cc_list_add(&argv, command->output);
    }
    for (size_t i = 0; i < command->count; i++) {
        const struct cc_arg *arg = &command->args[i];
        cc_list_add(&argv, arg->text);
        if (arg->kind == CC_ARG_SOURCE)
            cc_list_add(&objects,
                        command->output ? command->output : cc_text("%s.o", stem_of(arg->text)));
    }
    cc_flags_after(&argv, tools, command->position_independent_program);
    int code = cc_run(&argv, NULL, command->show);
    if (code != 0)
        return code;
    struct cc_inputs inputs = {tools, command->asm_ok, 0};
    for (size_t i = 0; i < objects.count; i++) {
        unsigned before = inputs.refused;
        /* With -o /dev/null or a precompiled header there is nothing to look at. */
        if (access(objects.at[i], R_OK) == 0)
            cc_inputs_check(&inputs, objects.at[i], NULL);
        if (inputs.refused > before)
            cc_temporary_add(objects.at[i]);
    }
    return inputs.refused ? 1 : 0;
}

/* -MD without -MF would name the dependency file after the temporary object. */
static void add_dependency_names(struct cc_list *argv, const struct cc_command *command,
                                 const char *source)
{
    const char *output = command->output ? command->output : "a.out";
    const char *dot = strrchr(base_name(output), '.');
    size_t length = dot ? (size_t)(dot - output) : strlen(output);
    cc_list_add(argv, "-MF");
    cc_list_add(argv, command->sources == 1
                          ? cc_text("%.*s.d", (int)length, output)
                          : cc_text("%.*s-%s.d", (int)length, output, stem_of(source)));
    cc_list_add(argv, "-MQ");
    cc_list_add(argv, output);
}

/* One source of a line that also links. Returns the temporary object. */
static const char *compile_one(const struct cc_toolchain *tools, const struct cc_command *command,
                               const struct cc_arg *source)
{
    const char *object = cc_temporary(stem_of(source->text), ".o");
    struct cc_list argv = {0};
    begin(&argv, tools);
    cc_list_add(&argv, "-c");
    cc_list_add(&argv, "-o");
    cc_list_add(&argv, object);
    for (size_t i = 0; i < command->count; i++)
        if (command->args[i].kind == CC_ARG_FLAG)
            cc_list_add(&argv, command->args[i].text);
    if (command->depend && !command->depend_file)
        add_dependency_names(&argv, command, source->text);
    cc_flags_after(&argv, tools, command->mode == CC_PROGRAM);
    if (source->language)
        cc_list_add(&argv, cc_text("-x%s", source->language));
    cc_list_add(&argv, source->text);
    int code = cc_run(&argv, NULL, command->show);
    if (code != 0)
        finish(code);
    struct cc_inputs inputs = {tools, command->asm_ok, 0};
    cc_inputs_check(&inputs, object, source->text);
    if (inputs.refused)
        finish(1);
    return object;
}

/* ---- Linking --------------------------------------------------------------------------------- */

/* "archive(member)" and "(archive)member", as linkers write them when asked twice, name the
 * archive. */
static const char *traced_path(char *line)
{
    char *open = strrchr(line, '(');
    if (!open || access(line, F_OK) == 0)
        return line;
    if (open != line) {
        *open = 0;
        return line;
    }
    char *close = strchr(line, ')');
    if (close)
        *close = 0;
    return line + 1;
}

/*
 * Files named on the line are looked at before the link, so that what is wrong with them is said
 * instead of the linker's complaints; `seen` collects what needs no second look.
 */
static void check_named(const struct cc_toolchain *tools, const struct cc_command *command,
                        struct cc_list *seen)
{
    struct cc_inputs inputs = {tools, command->asm_ok, 0};
    for (size_t i = 0; i < command->count; i++) {
        const struct cc_arg *arg = &command->args[i];
        if (arg->kind != CC_ARG_LINK || arg->text[0] == '-' || access(arg->text, F_OK) != 0)
            continue;
        cc_inputs_check(&inputs, arg->text, NULL);
        cc_list_add(seen, arg->text);
    }
    if (inputs.refused)
        finish(1);
}

/* All else that the linker read, by its trace. What it made itself meanwhile is gone, and is no
 * input. */
static void check_traced(const char *path, const struct cc_toolchain *tools,
                         const struct cc_command *command, struct cc_list *seen)
{
    struct cc_inputs inputs = {tools, command->asm_ok, 0};
    char *text = cc_read_text(path);
    if (!text)
        cc_refuse("cannot read the linker's trace: %s", strerror(errno));
    size_t own = strlen(tools->library_dir);
    char *rest = text;
    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) {
        const char *file = traced_path(line);
        bool known = access(file, F_OK) != 0 || cc_is_temporary(file) ||
                     (strncmp(file, tools->library_dir, own) == 0 && file[own] == '/');
        for (size_t i = 0; i < seen->count && !known; i++)
            known = strcmp(seen->at[i], file) == 0;
        if (known)
            continue;
        cc_inputs_check(&inputs, file, NULL);
        cc_list_add(seen, file);
    }
    if (inputs.refused)
        finish(1);
}

/* Such a file is a sound module, and of no use: somebody has forgotten something, or means it for a library. */
static void warn_without_entries(const char *path, const char *output)
{
    struct cc_elf elf;
    uint8_t *bytes;
    size_t size;
    if (cc_map(path, false, &bytes, &size) != 0)
        return;
    if (!cc_elf_open(&elf, bytes, size) && !cc_elf_section(&elf, "gr_entries"))
        cc_say(
            "warning: %s has no GR_ENTRY, so nothing can be spawned in it; and it exports nothing "
            "(what several modules share goes into a static library)",
            output);
    cc_unmap(bytes, size);
}

static const char *temporary_output(const char *output)
{
    const char *path = cc_text("%s.grasp-cc-%d", output, (int)getpid());
    cc_temporary_add(path);
    return path;
}

static void link_arguments(struct cc_list *argv, const struct cc_toolchain *tools,
                           const struct cc_command *command)
{
    if (command->mode != CC_PARTIAL)
        cc_list_add(argv, tools->module_object);
    for (size_t i = 0; i < command->count; i++) {
        const struct cc_arg *arg = &command->args[i];
        if (arg->kind == CC_ARG_SOURCE || arg->kind == CC_ARG_ASSEMBLY)
            cc_list_add(argv, compile_one(tools, command, arg));
        else if (arg->kind != CC_ARG_LANGUAGE)
            cc_list_add(argv, arg->text);
    }
    /* Link-time optimisation compiles now, and needs the flags again. */
    cc_flags_after(argv, tools, command->mode == CC_PROGRAM);
    if (command->mode == CC_PARTIAL)
        cc_list_add(argv, "-r");
    else
        cc_flags_link(argv, tools, command->mode);
    cc_list_add(argv, "-Wl,--trace");
}

static int link_all(struct cc_toolchain *tools, const struct cc_command *command)
{
    const char *output = command->output ? command->output : "a.out";
    const char *temporary = temporary_output(output);
    struct cc_list argv = {0}, seen = {0};
    begin(&argv, tools);
    cc_list_add(&argv, "-o");
    cc_list_add(&argv, temporary);
    cc_toolchain_find_system_dirs(tools);
    check_named(tools, command, &seen);
    link_arguments(&argv, tools, command);
    if (command->mode != CC_PARTIAL && access(cc_text("%s/libgrasp.so", tools->library_dir), F_OK))
        cc_refuse("%s/libgrasp.so is missing: build or install libgrasp first", tools->library_dir);
    const char *trace = cc_temporary("trace", ".txt");
    int code = cc_run(&argv, trace, command->show);
    if (code != 0)
        return code;
    check_traced(trace, tools, command, &seen);
    if (command->mode != CC_PARTIAL) {
        uint32_t flags = (command->mode == CC_PROGRAM ? GRI_MODULE_PROGRAM : 0) |
                         (command->asm_ok ? GRI_MODULE_ASM_OK : 0);
        const char *why = cc_rewrite(temporary, flags);
        if (why)
            cc_refuse("%s: %s", output, why);
        if (command->mode == CC_MODULE)
            warn_without_entries(temporary, output);
    }
    if (rename(temporary, output) != 0)
        cc_refuse("cannot write %s: %s", output, strerror(errno));
    return 0;
}

/* ---- Questions ------------------------------------------------------------------------------- */

static void print_list(const struct cc_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        printf("%s%s", i ? " " : "", list->at[i]);
    putchar('\n');
}

static int print_flags(const struct cc_toolchain *tools, const struct cc_command *command)
{
    struct cc_list flags = {0};
    if (command->print_cflags)
        cc_flags_after(&flags, tools, command->position_independent_program);
    if (command->print_libs) {
        cc_list_add(&flags, tools->module_object);
        cc_flags_link(&flags, tools, command->shared ? CC_MODULE : CC_PROGRAM);
    }
    print_list(&flags);
    return 0;
}

static int print_version(const struct cc_toolchain *tools)
{
    printf("grasp-cc %s (ABI %d) with ", GRASP_VERSION, GR_ABI_VERSION);
    fflush(stdout);
    struct cc_list argv = {0};
    cc_list_add_all(&argv, &tools->compiler);
    cc_list_add(&argv, "--version");
    return cc_run(&argv, NULL, false);
}

static int pass_on(const struct cc_toolchain *tools, const struct cc_command *command)
{
    struct cc_list argv = {0};
    if (command->sources == 0 && command->inputs == 0 && !command->question)
        cc_refuse("no input files; grasp-cc --help says how it is used");
    begin(&argv, tools);
    if (command->output) {
        cc_list_add(&argv, "-o");
        cc_list_add(&argv, command->output);
    }
    if (command->compile)
        cc_list_add(&argv, "-c");
    for (size_t i = 0; i < command->count; i++)
        cc_list_add(&argv, command->args[i].text);
    cc_flags_after(&argv, tools, command->position_independent_program);
    return cc_run(&argv, NULL, command->show);
}

int main(int argc, char **argv)
{
    static struct cc_command command;
    static struct cc_toolchain tools;
    cc_command_parse(&command, argc, argv);
    if (command.help) {
        fputs(usage, stdout);
        return 0;
    }
    ignore_interrupts();
    cc_toolchain_find(&tools, &command);
    int code;
    if (command.version)
        code = print_version(&tools);
    else if (command.print_cflags || command.print_libs)
        code = print_flags(&tools, &command);
    else if (command.mode == CC_PASS)
        code = pass_on(&tools, &command);
    else if (command.mode == CC_COMPILE)
        code = compile(&tools, &command);
    else
        code = link_all(&tools, &command);
    finish(code);
}
