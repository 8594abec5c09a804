/*
 * selector.c: see selector.h.
 */
#include "selector.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool api_label_key_valid(const char *key, size_t size)
{
    if (size == 0 || size > GR_LABEL_KEY_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)key[i]) && !strchr("_.-", key[i]))
            return false;
    return true;
}

/* One term of `size` characters. */
static int parse_term(struct api_term *term, const char *text, size_t size)
{
    const char *equal = memchr(text, '=', size);
    size_t key_size = equal ? (size_t)(equal - text) : size;
    if (equal) {
        term->op = API_TERM_EQUAL;
        if (key_size > 0 && text[key_size - 1] == '!') {
            term->op = API_TERM_NOT_EQUAL;
            key_size--;
        }
        size_t value_size = size - (size_t)(equal - text) - 1;
        if (value_size > GR_LABEL_VALUE_MAX)
            return -EINVAL;
        memcpy(term->value, equal + 1, value_size);
        term->value[value_size] = 0;
    } else if (size > 0 && text[0] == '!') {
        term->op = API_TERM_ABSENT;
        text++;
        key_size--;
    } else {
        term->op = API_TERM_PRESENT;
    }
    if (!api_label_key_valid(text, key_size))
        return -EINVAL;
    memcpy(term->key, text, key_size);
    term->key[key_size] = 0;
    return 0;
}

int api_selector_parse(struct api_selector *selector, const char *text, char *err, size_t err_bytes)
{
    selector->count = 0;
    while (*text) {
        size_t size = strcspn(text, ",");
        if (selector->count == API_SELECTOR_TERMS_MAX) {
            snprintf(err, err_bytes, "a selector has at most %d terms", API_SELECTOR_TERMS_MAX);
            return -EINVAL;
        }
        if (parse_term(&selector->term[selector->count], text, size)) {
            snprintf(err, err_bytes,
                     "'%.*s' is not a selector term; write k=v, k!=v, k or !k, joined by commas",
                     (int)(size > 80 ? 80 : size), text);
            return -EINVAL;
        }
        selector->count++;
        text += size;
        if (*text == ',' && *++text == 0) {
            snprintf(err, err_bytes, "the selector ends in a comma; remove it");
            return -EINVAL;
        }
    }
    return 0;
}

static const char *label_of(const struct gr_info *info, const char *key)
{
    for (size_t i = 0; i < info->label_count; i++)
        if (strcmp(info->label[i].key, key) == 0)
            return info->label[i].value;
    return NULL;
}

static bool term_match(const struct api_term *term, const struct gr_info *info)
{
    const char *value = label_of(info, term->key);
    switch (term->op) {
    case API_TERM_EQUAL:
        return value && strcmp(value, term->value) == 0;
    case API_TERM_NOT_EQUAL:
        return !value || strcmp(value, term->value) != 0;
    case API_TERM_PRESENT:
        return value != NULL;
    case API_TERM_ABSENT:
        return value == NULL;
    }
    return false;
}

bool api_selector_match(const struct api_selector *selector, const struct gr_info *info)
{
    for (size_t i = 0; i < selector->count; i++)
        if (!term_match(&selector->term[i], info))
            return false;
    return true;
}
