/*
 * args.c: understands as much of a compiler's command line as grasp-cc needs, and no more.
 *
 * Every argument keeps its place, because the order of objects and libraries matters to the linker.
 * What is not a known option with a separate value is one argument; what does not begin with '-' is
 * a file, and its name or the -x in force says which kind. Response files (@FILE) are read here,
 * since the mode may stand in one.
 *
 * Rejected: handing the line to the compiler and reading back its -### output. The text differs
 * between compilers and versions, and a refusal could not quote the user's own words.
 */
#include "grasp_cc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSE_FILES_MAX 64

/* Options whose value may be the next argument. */
static const char *const separate[] = {
    "-D",
    "-U",
    "-I",
    "-include",
    "-imacros",
    "-isystem",
    "-iquote",
    "-idirafter",
    "-iprefix",
    "-MF",
    "-MT",
    "-MQ",
    "-isysroot",
    "-iwithprefix",
    "-L",
    "-T",
    "-u",
    "-z",
    "-e",
    "-Xlinker",
    "-Xassembler",
    "-aux-info",
    "-mllvm",
    "-Xclang",
    "-dumpbase",
    "-dumpbase-ext",
    "-dumpdir",
    "-B",
    "--param",
    "-wrapper",
    "-specs",
    "-target",
    "-A",
    "-Xpreprocessor",
    "-iwithprefixbefore",
    "--sysroot",
};

static const char *const cxx_suffixes[] = {"cc", "cp", "cxx", "cpp", "CPP", "c++", "C", "ii"};

/* Options that ask the compiler something or stop before there is an object. */
static const char *const questions[] = {"-E", "-S", "-M", "-MM", "-fsyntax-only", "-###", "-v"};

struct refused_option {
    const char *text, *because;
};
static const struct refused_option refused_options[] = {
    {"-static", "a program needs libgrasp.so, which is shared with its modules"},
    {"--static", "a program needs libgrasp.so, which is shared with its modules"},
    {"-static-pie", "a program needs libgrasp.so, which is shared with its modules"},
    {"-no-pie", "programs are position-independent; drop the option"},
    {"-nopie", "programs are position-independent; drop the option"},
    {"-m32", "Grasp runs 64-bit code only"},
    {"-mx32", "Grasp runs 64-bit code only"},
    {"-fsplit-stack", "it uses the same word of the thread as the entry checks"},
    {"-fopenmp", "OpenMP's threads are no goroutines; start those by gr_go, or use -fopenmp-simd"},
    {"-fopenacc", "OpenACC's threads are no goroutines; start those by gr_go"},
};

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, list[i]) == 0)
            return true;
    return false;
}
#define IS_ONE_OF(text, list) is_one_of(text, list, sizeof(list) / sizeof((list)[0]))

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void add(struct cc_command *command, const char *text, enum cc_arg_kind kind)
{
    if (command->count == command->room) {
        command->room = command->room ? 2 * command->room : 64;
        command->args = realloc(command->args, command->room * sizeof(command->args[0]));
        if (!command->args)
            cc_refuse("out of memory");
    }
    command->args[command->count++] = (struct cc_arg){text, kind, command->language};
}

/* ---- Response files -------------------------------------------------------------------------- */

/* The next word of *text as the compiler reads it: blanks separate, quotes and backslashes protect.
 * NULL at the end. */
static char *next_word(const char **text)
{
    const char *p = *text;
    while (isspace((unsigned char)*p))
        p++;
    if (!*p)
        return NULL;
    char *word = malloc(strlen(p) + 1);
    if (!word)
        cc_refuse("out of memory");
    size_t length = 0;
    char quote = 0;
    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (*p == '\\' && p[1] && quote != '\'')
            word[length++] = *++p;
        else if (quote ? *p == quote : (*p == '"' || *p == '\''))
            quote = quote ? 0 : *p;
        else
            word[length++] = *p;
    }
    word[length] = 0;
    *text = p;
    return word;
}

static void expand(struct cc_list *out, const char *text, unsigned depth)
{
    char *contents = text[0] == '@' ? cc_read_text(text + 1) : NULL;
    /* As the compilers have it: @FILE stands for itself if there is no such file. */
    if (!contents) {
        cc_list_add(out, text);
        return;
    }
    if (depth == RESPONSE_FILES_MAX)
        cc_refuse("%s: response files that name each other", text);
    const char *rest = contents;
    for (const char *word; (word = next_word(&rest)) != NULL;)
        expand(out, word, depth + 1);
    free(contents);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static enum cc_arg_kind kind_of_language(const char *language)
{
    if (strcmp(language, "c") == 0 || strcmp(language, "cpp-output") == 0 ||
        strcmp(language, "c-header") == 0)
        return CC_ARG_SOURCE;
    if (starts_with(language, "assembler"))
        return CC_ARG_ASSEMBLY;
    cc_refuse("-x %s: grasp-cc builds C, and assembly with --asm-ok", language);
}

static enum cc_arg_kind kind_of_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    const char *suffix = dot ? dot + 1 : "";
    if (strcmp(suffix, "c") == 0 || strcmp(suffix, "i") == 0 || strcmp(suffix, "h") == 0)
        return CC_ARG_SOURCE;
    if (strcmp(suffix, "s") == 0 || strcmp(suffix, "S") == 0 || strcmp(suffix, "sx") == 0)
        return CC_ARG_ASSEMBLY;
    if (IS_ONE_OF(suffix, cxx_suffixes))
        cc_refuse("%s: C++ cannot be built: exceptions and thread-locals of the C++ runtime cannot "
                  "be carried across goroutines that change threads; write this part in C, or keep "
                  "it in a shared library of its own",
                  path);
    return CC_ARG_LINK;
}

static void add_file(struct cc_command *command, const char *path)
{
    enum cc_arg_kind kind =
        command->language ? kind_of_language(command->language) : kind_of_file(path);
    if (kind == CC_ARG_LINK)
        command->inputs++;
    else
        command->sources++;
    if (kind == CC_ARG_ASSEMBLY)
        command->has_assembly = path;
    add(command, path, kind);
}

/* ---- Options --------------------------------------------------------------------------------- */

static bool parse_own(struct cc_command *command, const char *text)
{
    bool *const flags[] = {&command->asm_ok,     &command->show,    &command->print_cflags,
                           &command->print_libs, &command->version, &command->help};
    static const char *const names[] = {"--asm-ok",     "--show",    "--print-cflags",
                                        "--print-libs", "--version", "--help"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *flags[i] = true;
        return true;
    }
    return false;
}

/* The modes; what only they mean is not handed on, since each step gets its own. */
static bool parse_mode(struct cc_command *command, const char *text)
{
    if (strcmp(text, "-c") == 0)
        command->compile = true;
    else if (strcmp(text, "-shared") == 0 || strcmp(text, "--shared") == 0)
        command->shared = true;
    else if (strcmp(text, "-r") == 0)
        command->partial = true;
    else if (strcmp(text, "-pie") == 0 || strcmp(text, "--pie") == 0)
        return true;
    else
        return false;
    return true;
}

static void note_flag(struct cc_command *command, const char *text)
{
    for (size_t i = 0; i < sizeof(refused_options) / sizeof(refused_options[0]); i++)
        if (strcmp(text, refused_options[i].text) == 0)
            cc_refuse("%s is refused: %s", text, refused_options[i].because);
    if (strstr(text, "--version-script"))
        cc_refuse("%s is refused: a module exports gr_module_meta alone; drop the option", text);
    if (strcmp(text, "-fPIE") == 0 || strcmp(text, "-fpie") == 0)
        command->position_independent_program = true;
    else if (strcmp(text, "-fPIC") == 0 || strcmp(text, "-fpic") == 0)
        command->position_independent_program = false;
    else if (strcmp(text, "-MD") == 0 || strcmp(text, "-MMD") == 0)
        command->depend = true;
    else if (starts_with(text, "-MF"))
        command->depend_file = true;
    else if (IS_ONE_OF(text, questions))
        command->question = true;
    else if (starts_with(text, "-print-") || starts_with(text, "--print-") ||
             starts_with(text, "-dump") || starts_with(text, "--help=") ||
             strcmp(text, "--target-help") == 0)
        command->question = true;
}

static const char *value_of(const struct cc_list *words, size_t *i, const char *option)
{
    if (words->at[*i][strlen(option)])
        return words->at[*i] + strlen(option);
    if (*i + 1 == words->count)
        cc_refuse("%s wants a value", option);
    return words->at[++*i];
}

static void parse_option(struct cc_command *command, const struct cc_list *words, size_t *i)
{
    const char *text = words->at[*i];
    if (parse_own(command, text) || parse_mode(command, text))
        return;
    if (starts_with(text, "-o")) {
        command->output = value_of(words, i, "-o");
        return;
    }
    if (starts_with(text, "-x")) {
        const char *language = value_of(words, i, "-x");
        command->language = strcmp(language, "none") == 0 ? NULL : language;
        add(command, cc_text("-x%s", language), CC_ARG_LANGUAGE);
        return;
    }
    if (starts_with(text, "-l")) {
        add(command, cc_text("-l%s", value_of(words, i, "-l")), CC_ARG_LINK);
        command->inputs++;
        return;
    }
    note_flag(command, text);
    add(command, text, CC_ARG_FLAG);
    if (IS_ONE_OF(text, separate) && *i + 1 < words->count)
        add(command, words->at[++*i], CC_ARG_FLAG);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t a = strlen(text), b = strlen(suffix);
    return a > b && strcmp(text + a - b, suffix) == 0;
}

static enum cc_mode mode_of(const struct cc_command *command)
{
    if (command->question || command->sources + command->inputs == 0)
        return CC_PASS;
    if (command->compile)
        return CC_COMPILE;
    if (command->partial)
        return CC_PARTIAL;
    if (command->shared || (command->output && ends_with(command->output, ".so")))
        return CC_MODULE;
    return CC_PROGRAM;
}

void cc_command_parse(struct cc_command *command, int argc, char **argv)
{
    struct cc_list words = {0};
    for (int i = 1; i < argc; i++)
        expand(&words, argv[i], 0);
    for (size_t i = 0; i < words.count; i++) {
        const char *text = words.at[i];
        if (text[0] == '-' && text[1])
            parse_option(command, &words, &i);
        else
            add_file(command, text);
    }
    if (command->has_assembly && !command->asm_ok)
        cc_refuse("%s: assembly has no entry checks, so a goroutine in it cannot be stopped at "
                  "calls; add --asm-ok if it is short, keeps to the ABI and has unwind data",
                  command->has_assembly);
    command->mode = mode_of(command);
}
