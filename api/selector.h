/*
 * selector.h: label selectors, `k=v`, `k!=v`, `k`, `!k`, joined by AND with commas.
 *
 * Parsed once per request into a fixed struct, so that matching a million goroutines allocates
 * nothing.
 */
#ifndef API_SELECTOR_H
#define API_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <grasp/runtime.h>

#define API_SELECTOR_TERMS_MAX 32

enum api_term_op { API_TERM_EQUAL, API_TERM_NOT_EQUAL, API_TERM_PRESENT, API_TERM_ABSENT };

struct api_selector {
    size_t count;
    struct api_term {
        enum api_term_op op;
        char key[GR_LABEL_KEY_MAX + 1];
        char value[GR_LABEL_VALUE_MAX + 1];
    } term[API_SELECTOR_TERMS_MAX];
};

/* 0, or -EINVAL with a sentence in err. The empty selector matches everything. */
int api_selector_parse(struct api_selector *selector, const char *text, char *err,
                       size_t err_bytes);
bool api_selector_match(const struct api_selector *selector, const struct gr_info *info);
/* Whether key may be a label's: [A-Za-z0-9_.-]{1,63}. */
bool api_label_key_valid(const char *key, size_t size);

#endif
