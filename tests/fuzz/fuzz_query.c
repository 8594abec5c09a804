/*
 * fuzz_query.c: a target's parser and a selector's. What a target is parsed into is within it, and a
 * selector that was accepted can be asked.
 */
#include <string.h>

#include "fuzz.h"
#include "query.h"
#include "selector.h"

static void check_target(const char *text, size_t size)
{
    static struct api_target target;
    char err[256] = "";
    if (api_target_parse(&target, text, size, err, sizeof err)) {
        CLAIM(err[0], "a refusal says why");
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < target.segment_count; i++)
        total += strlen(target.segment[i]);
    for (size_t i = 0; i < target.param_count; i++)
        total += strlen(target.param[i].name) + strlen(target.param[i].value);
    CLAIM(total <= size, "nothing grows by being decoded");
}

static void check_selector(const char *text)
{
    struct api_selector selector;
    struct gr_info *info = calloc(1, sizeof *info);
    char err[256] = "";
    if (api_selector_parse(&selector, text, err, sizeof err))
        CLAIM(err[0], "a refusal says why");
    else
        (void)api_selector_match(&selector, info);
    free(info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    check_target(text, size);
    check_selector(text);
    free(text);
    return 0;
}
