/*
 * json_check.c: whether a text is JSON (RFC 8259), for gr_result. It decides, it builds nothing: core has no
 * JSON library, and a module must learn of a mistake at the call, not when somebody asks for the result.
 */
#include "scheduler.h"

#include <string.h>

#define DEPTH_MAX 64

struct cursor {
    const char *at, *end;
    int depth;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at)
        c->at++;
}

static bool take(struct cursor *c, char wanted)
{
    skip_space(c);
    if (c->at >= c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* Four hexadecimal digits; -1: not so. */
static int hex4(struct cursor *c)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdefABCDEF";
        const char *digit = c->at < c->end && *c->at ? strchr(digits, *c->at) : NULL;

        if (!digit)
            return -1;
        value = value * 16 + (int)(digit - digits < 16 ? digit - digits : digit - digits - 6);
        c->at++;
    }
    return value;
}

/* After \u: one code unit, or a pair of surrogates. No NUL: JSON libraries in C refuse it. */
static bool code_point(struct cursor *c)
{
    int unit = hex4(c);

    if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return false;
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    if (c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u')
        return false;
    c->at += 2;
    unit = hex4(c);
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static bool utf8_tail(struct cursor *c, unsigned char lead)
{
    int more = lead >= 0xf0 && lead < 0xf5   ? 3
               : lead >= 0xe0 && lead < 0xf0 ? 2
               : lead >= 0xc2 && lead < 0xe0 ? 1
                                             : -1;

    unsigned char second = c->at < c->end ? (unsigned char)*c->at : 0;

    /* Overlong forms, surrogates, and what lies above U+10FFFF (RFC 3629). */
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
        return false;
    for (; more > 0; more--) {
        if (c->at >= c->end || ((unsigned char)*c->at & 0xc0) != 0x80)
            return false;
        c->at++;
    }
    return more == 0;
}

static bool string(struct cursor *c)
{
    if (!take(c, '"'))
        return false;
    while (c->at < c->end) {
        unsigned char byte = (unsigned char)*c->at++;

        if (byte == '"')
            return true;
        if (byte < 0x20 || (byte >= 0x80 && !utf8_tail(c, byte)))
            return false;
        if (byte != '\\')
            continue;
        if (c->at >= c->end || !*c->at || !strchr("\"\\/bfnrtu", *c->at))
            return false;
        if (*c->at++ == 'u' && !code_point(c))
            return false;
    }
    return false;
}

static bool digits(struct cursor *c)
{
    const char *start = c->at;

    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return c->at > start;
}

static bool number(struct cursor *c)
{
    if (c->at < c->end && *c->at == '-')
        c->at++;
    if (c->at < c->end && *c->at == '0')
        c->at++;
    else if (!digits(c))
        return false;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!digits(c))
            return false;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
            c->at++;
        return digits(c);
    }
    return true;
}

static bool word(struct cursor *c, const char *text)
{
    size_t n = strlen(text);

    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
        return false;
    c->at += n;
    return true;
}

static bool value(struct cursor *c);

static bool members(struct cursor *c, char close, bool keyed)
{
    if (take(c, close))
        return true;
    do {
        if (keyed && !(string(c) && take(c, ':')))
            return false;
        if (!value(c))
            return false;
    } while (take(c, ','));
    return take(c, close);
}

static bool value(struct cursor *c)
{
    bool good;

    skip_space(c);
    if (c->at >= c->end || ++c->depth > DEPTH_MAX)
        return false;
    if (*c->at == '{' || *c->at == '[') {
        bool keyed = *c->at++ == '{';

        good = members(c, keyed ? '}' : ']', keyed);
    } else if (*c->at == '"') {
        good = string(c);
    } else if (*c->at == 't' || *c->at == 'f' || *c->at == 'n') {
        good = word(c, "true") || word(c, "false") || word(c, "null");
    } else {
        good = number(c);
    }
    c->depth--;
    return good;
}

bool gri_json_valid(const char *text, size_t bytes)
{
    struct cursor c = {text, text + bytes, 0};

    if (!value(&c))
        return false;
    skip_space(&c);
    return c.at == c.end;
}
