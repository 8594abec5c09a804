/*
 * json_args.c: arguments with numbers that jansson cannot hold.
 *
 * A goroutine's arguments are any JSON, handed on as text: nobody here needs the value of 18446744073709551615 or 1e400.
 * But jansson reads the whole body and gives up at such a number. So when it does, the body is read once more with a 0
 * in place of each number inside the arguments, which checks everything else, and the arguments are taken from the
 * body itself. A number must look like one: what does not is left where it is, all of it, for jansson to refuse.
 */
#include <ctype.h>
#include <string.h>

#include "internal.h"

struct span {
    size_t begin, end;
};

/* Behind the string that begins at `at`. */
static size_t skip_string(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] != '"'; at++)
        at += text[at] == '\\';
    return at < size ? at + 1 : size;
}

static size_t skip_blanks(const char *text, size_t size, size_t at)
{
    while (at < size && memchr(" \t\r\n", text[at], 4))
        at++;
    return at;
}

/* Where the value that begins at `at`, a member's of the outermost object, is over. */
static size_t value_end(const char *text, size_t size, size_t at)
{
    unsigned depth = 0;
    while (at < size) {
        char c = text[at];
        if (depth == 0 && (c == ',' || c == '}'))
            return at;
        depth += c == '{' || c == '[';
        depth -= depth && (c == '}' || c == ']');
        at = c == '"' ? skip_string(text, size, at) : at + 1;
    }
    return size;
}

/* The value of "args" in the outermost object; false: there is none. */
static bool find_args(const char *text, size_t size, struct span *found)
{
    size_t at = skip_blanks(text, size, 0);
    if (at == size || text[at++] != '{')
        return false;
    while (at < size) { /* each turn passes a key at least */
        size_t key = at = skip_blanks(text, size, at);
        if (at == size || text[at] != '"')
            return false;
        size_t key_end = skip_string(text, size, at);
        at = skip_blanks(text, size, key_end);
        if (at == size || text[at++] != ':')
            return false;
        size_t end = value_end(text, size, at);
        if (key_end - key == 6 && memcmp(text + key, "\"args\"", 6) == 0) {
            *found = (struct span){at, end};
            return true;
        }
        at = end + 1;
    }
    return false;
}

static size_t skip_digits(const char *text, size_t end, size_t at)
{
    while (at < end && isdigit((unsigned char)text[at]))
        at++;
    return at;
}

/* Behind the number that begins at `at`; `at` itself: it is none. */
static size_t number_end(const char *text, size_t end, size_t at)
{
    size_t from = at, digits;
    at += text[at] == '-';
    digits = skip_digits(text, end, at);
    if (digits == at || (text[at] == '0' && digits > at + 1))
        return from;
    at = digits;
    if (at < end && text[at] == '.') {
        digits = skip_digits(text, end, at + 1);
        if (digits == at + 1)
            return from;
        at = digits;
    }
    if (at < end && (text[at] == 'e' || text[at] == 'E')) {
        size_t power = at + 1;
        power += power < end && (text[power] == '+' || text[power] == '-');
        digits = skip_digits(text, end, power);
        if (digits == power)
            return from;
        at = digits;
    }
    return at;
}

/* A 0 for each number, and blanks, so that everything stays where it is. */
static void blank_numbers(char *text, struct span args)
{
    for (size_t at = args.begin; at < args.end;) {
        bool begins = text[at] == '-' || isdigit((unsigned char)text[at]);
        size_t end = begins ? number_end(text, args.end, at) : at;
        if (end > at) {
            memset(text + at, ' ', end - at);
            text[at] = '0';
            at = end;
        } else if (begins) {
            do
                at++;
            while (at < args.end && text[at] && strchr("+-.eE0123456789", text[at]));
        } else {
            at = text[at] == '"' ? skip_string(text, args.end, at) : at + 1;
        }
    }
}

json_t *api_args_apart(const char *body, size_t size, size_t flags, struct api_buf *args,
                       json_error_t *error)
{
    struct api_buf copy = {0};
    struct span span;
    json_t *value = NULL;
    if (!find_args(body, size, &span))
        return NULL;
    api_buf_add(&copy, body, size);
    if (!copy.failed) {
        blank_numbers(copy.data, span);
        value = json_loadb(copy.data, copy.size, flags, error);
    }
    if (value) {
        api_buf_clear(&copy);
        api_buf_add(&copy, body + span.begin, span.end - span.begin);
        api_buf_add(&copy, "", 1);
        if (!copy.failed)
            api_put_raw(args, copy.data);
        api_buf_add(args, "", 1);
    }
    args->failed |= copy.failed;
    api_buf_free(&copy);
    return value;
}
