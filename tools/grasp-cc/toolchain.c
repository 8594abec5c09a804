/*
 * toolchain.c: where Grasp's own files are, which compiler this is, what flags it gets, and running
 * it.
 *
 * Grasp's files are found from the place of the running program, so that a build tree and an
 * installed prefix that was moved both work: bin/grasp-cc, include/grasp/, lib/libgrasp.so,
 * lib/grasp/module.o. No path of the building machine is in the program; only the name of the
 * library folder below the prefix is.
 *
 * The flags fall in two groups: those before the user's are defaults; those after are what makes a
 * function a safe-point, and win because compilers obey the last.
 */
#include "grasp_cc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The build gives GRASP_LIBDIR: the library folder below the installed prefix. */
static const char *const library_folders[] = {GRASP_LIBDIR, "lib", "lib64"};

/* ---- Strings and files ----------------------------------------------------------------------- */

void cc_list_add(struct cc_list *list, const char *text)
{
    if (list->count + 2 > list->room) {
        list->room = list->room ? 2 * list->room : 32;
        list->at = realloc(list->at, list->room * sizeof(list->at[0]));
        if (!list->at)
            cc_refuse("out of memory");
    }
    list->at[list->count++] = text;
    list->at[list->count] = NULL;
}

void cc_list_add_all(struct cc_list *list, const struct cc_list *more)
{
    for (size_t i = 0; i < more->count; i++)
        cc_list_add(list, more->at[i]);
}

char *cc_text(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        cc_refuse("out of memory");
    return text;
}

char *cc_read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = NULL;
    size_t room = 0;
    ssize_t length = getdelim(&text, &room, 0, file);
    fclose(file);
    if (length < 0) {
        free(text);
        return strdup("");
    }
    return text;
}

/* ---- Running --------------------------------------------------------------------------------- */

static void show_command(const struct cc_list *argv)
{
    for (size_t i = 0; i < argv->count; i++) {
        bool plain = argv->at[i][0] && !strpbrk(argv->at[i], " \t\n\"'\\$`*?[]<>|&;()#~");
        fprintf(stderr, "%s%s%s%s", i ? " " : "", plain ? "" : "'", argv->at[i], plain ? "" : "'");
    }
    fputc('\n', stderr);
}

static _Noreturn void child_main(const struct cc_list *argv, const char *capture)
{
    /* grasp-cc ignores these so that it can clean up; the compiler is to end at once. */
    for (size_t i = 0; i < sizeof(cc_interrupts) / sizeof(cc_interrupts[0]); i++)
        signal(cc_interrupts[i], SIG_DFL);
    if (capture) {
        int fd = open(capture, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
            _exit(127);
        close(fd);
    }
    execvp(argv->at[0], (char *const *)argv->at);
    dprintf(STDERR_FILENO, "grasp-cc: cannot run %s: %s; $GRASP_CC names the compiler to use\n",
            argv->at[0], strerror(errno));
    _exit(127);
}

int cc_run(const struct cc_list *argv, const char *capture, bool show)
{
    if (show)
        show_command(argv);
    pid_t child = fork();
    if (child < 0)
        cc_refuse("cannot start a process: %s", strerror(errno));
    if (child == 0)
        child_main(argv, capture);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            cc_refuse("cannot wait for %s: %s", argv->at[0], strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What the compiler prints for one more argument. */
static char *ask(const struct cc_toolchain *tools, const char *question)
{
    struct cc_list argv = {0};
    cc_list_add_all(&argv, &tools->compiler);
    cc_list_add(&argv, question);
    const char *answer = cc_temporary("answer", ".txt");
    if (cc_run(&argv, answer, false) != 0)
        cc_refuse("%s %s failed: it is no C compiler that grasp-cc can use (gcc and clang are)",
                  argv.at[0], question);
    char *text = cc_read_text(answer);
    if (!text)
        cc_refuse("cannot read what %s %s printed", argv.at[0], question);
    return text;
}

/* ---- Finding things -------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void find_own_files(struct cc_toolchain *tools)
{
    char self[PATH_MAX];
    if (!realpath("/proc/self/exe", self))
        cc_refuse("cannot find out where grasp-cc itself is: %s", strerror(errno));
    *strrchr(self, '/') = 0;
    char *last = strrchr(self, '/');
    const char *prefix = last && last != self ? strndup(self, (size_t)(last - self)) : "";
    tools->include_dir = cc_text("%s/include", prefix);
    for (size_t i = 0; i < sizeof(library_folders) / sizeof(library_folders[0]); i++) {
        const char *folder = library_folders[i][0] == '/'
                                 ? library_folders[i]
                                 : cc_text("%s/%s", prefix, library_folders[i]);
        const char *object = cc_text("%s/grasp/module.o", folder);
        if (!exists(object))
            continue;
        tools->library_dir = folder;
        tools->module_object = object;
        tools->module_map = cc_text("%s/grasp/module.map", folder);
        break;
    }
    if (!tools->library_dir || !exists(cc_text("%s/grasp/builtin/cc.h", tools->include_dir)))
        cc_refuse("Grasp's files are not below %s (include/grasp/builtin/cc.h, %s/grasp/module.o): "
                  "grasp-cc works from a build tree or an installed prefix, not copied alone",
                  prefix, GRASP_LIBDIR);
}

void cc_toolchain_find(struct cc_toolchain *tools, const struct cc_command *command)
{
    const char *wish = getenv("GRASP_CC");
    char *words = strdup(wish && *wish ? wish : GRASP_DEFAULT_CC);
    char *rest = words;
    for (char *word; (word = strtok_r(rest, " \t", &rest)) != NULL;)
        cc_list_add(&tools->compiler, word);
    if (tools->compiler.count == 0)
        cc_refuse("GRASP_CC is blank: it names the compiler to use");
    size_t own = tools->compiler.count;
    for (size_t i = 0; i < command->count; i++)
        if (strncmp(command->args[i].text, "--target=", 9) == 0)
            cc_list_add(&tools->compiler, command->args[i].text);
    tools->is_clang = strstr(ask(tools, "--version"), "clang") != NULL;
    const char *triple = ask(tools, "-dumpmachine");
    tools->arch = cc_arch_of_triple(triple);
    if (!tools->arch)
        cc_refuse("%s makes code for %.*s, which Grasp does not run on", tools->compiler.at[0],
                  (int)strcspn(triple, "\n"), triple);
    /* The user's --target stands among the arguments too. */
    tools->compiler.count = own;
    tools->compiler.at[own] = NULL;
    find_own_files(tools);
}

void cc_toolchain_find_system_dirs(struct cc_toolchain *tools)
{
    char *answer = ask(tools, "-print-search-dirs");
    char *line = strstr(answer, "libraries: =");
    if (!line)
        return;
    line += strlen("libraries: =");
    line[strcspn(line, "\n")] = 0;
    for (char *dir; (dir = strtok_r(line, ":", &line)) != NULL;) {
        char *real = realpath(dir, NULL);
        if (real)
            cc_list_add(&tools->system_dirs, real);
    }
}

/* ---- Flags ----------------------------------------------------------------------------------- */

void cc_flags_before(struct cc_list *argv, const struct cc_toolchain *tools)
{
    cc_list_add(argv, "-g");
    if (tools->arch->default_flag)
        cc_list_add(argv, tools->arch->default_flag);
    if (tools->is_clang)
        cc_list_add(argv, "-Wno-unused-command-line-argument");
}

void cc_flags_after(struct cc_list *argv, const struct cc_toolchain *tools, bool pie)
{
    cc_list_add(argv, tools->arch->patchable_flag);
    cc_list_add(argv, "-fasynchronous-unwind-tables");
    cc_list_add(argv, "-fstack-clash-protection");
    if (!tools->is_clang) {
        /* A check may clobber nothing, but the slow path is unknown to inter-procedural allocation.
         */
        cc_list_add(argv, "-fno-ipa-ra");
        /* The note has to be in a section also when the object is for link-time optimisation. */
        cc_list_add(argv, "-ffat-lto-objects");
    }
    cc_list_add(argv, pie ? "-fPIE" : "-fPIC");
    cc_list_add(argv, "-fno-semantic-interposition");
    cc_list_add(argv, "-include");
    cc_list_add(argv, cc_text("%s/grasp/builtin/cc.h", tools->include_dir));
    cc_list_add(argv, "-isystem");
    cc_list_add(argv, cc_text("%s/grasp/builtin/libc", tools->include_dir));
    cc_list_add(argv, cc_text("-I%s", tools->include_dir));
}

static void flags_program_libraries(struct cc_list *argv, const struct cc_toolchain *tools)
{
    const char *server = cc_text("%s/libgrasp_server.so", tools->library_dir);
    if (exists(server)) {
        /* Only programs that call gr_serve carry it. */
        cc_list_add(argv, "-Wl,--as-needed");
        cc_list_add(argv, server);
        cc_list_add(argv, "-Wl,--no-as-needed");
    }
    cc_list_add(argv, cc_text("-Wl,-rpath,%s", tools->library_dir));
}

static bool has_word(const struct cc_list *argv, const char *word)
{
    for (size_t i = 0; i < argv->count; i++)
        if (strcmp(argv->at[i], word) == 0)
            return true;
    return false;
}

void cc_flags_link(struct cc_list *argv, const struct cc_toolchain *tools, enum cc_mode mode)
{
    if (mode == CC_PROGRAM) {
        cc_list_add(argv, "-pie");
        cc_list_add(argv, "-Wl,--export-dynamic-symbol=gr_module_meta");
        flags_program_libraries(argv, tools);
    } else {
        cc_list_add(argv, "-shared");
        cc_list_add(argv, "-Wl,-Bsymbolic");
        cc_list_add(argv, cc_text("-Wl,--version-script=%s", tools->module_map));
    }
    cc_list_add(argv, "-Wl,-z,defs");
    cc_list_add(argv, "-Wl,-z,now");
    cc_list_add(argv, "-Wl,-z,text");
    cc_list_add(argv, "-Wl,-z,noexecstack");
    /* Else lld, collecting garbage, drops the entries, which only their section's bounds name; gold
     * lacks it. */
    if (!has_word(argv, "-fuse-ld=gold"))
        cc_list_add(argv, "-Wl,-z,nostart-stop-gc");
    cc_list_add(argv, "-Wl,--build-id");
    cc_list_add(argv, cc_text("%s/libgrasp.so", tools->library_dir));
}
