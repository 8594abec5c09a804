/*
 * json.c: values out (addresses, times, strings of any bytes) and checked bodies and parameters in.
 *
 * The route's field table says which names exist, their types and ranges; nothing reaches a handler
 * that breaks it, so that handlers read fields without looking. jansson refuses duplicate keys,
 * trailing bytes and bad UTF-8; depth is counted before parsing, because jansson's own cap is far
 * above ours.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Out ------------------------------------------------------------------------------------- */

json_t *api_json_uint(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *api_json_hex(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "0x%" PRIx64, value);
    return json_string(text);
}

json_t *api_json_address(uint64_t value)
{
    return value ? api_json_hex(value) : json_null();
}

uint64_t api_realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Proleptic Gregorian date of a day since 1970 (H. Hinnant's days_from_civil, turned round). */
static void date_of(uint64_t day, unsigned *year, unsigned *month, unsigned *day_of_month)
{
    uint64_t from = day + 719468; /* since 0000-03-01: leap days come last */
    uint64_t era = from / 146097, in_era = from % 146097;
    uint64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * y + y / 4 - y / 100);
    uint64_t m = (5 * in_year + 2) / 153;
    *day_of_month = (unsigned)(in_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = (unsigned)(y + era * 400 + (*month <= 2));
}

static char *put_digits(char *at, uint64_t value, unsigned digits, char behind)
{
    for (unsigned i = digits; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    at[digits] = behind;
    return at + digits + 1;
}

/* By hand: a list has ten thousand of them, and strftime asks for the locale each time. */
void api_time_format(char out[API_TIME_BYTES], uint64_t realtime_ns)
{
    char *at = out;
    unsigned year, month, day;
    uint64_t seconds = realtime_ns / 1000000000, in_day = seconds % 86400;
    date_of(seconds / 86400, &year, &month, &day);
    at = put_digits(at, year, 4, '-');
    at = put_digits(at, month, 2, '-');
    at = put_digits(at, day, 2, 'T');
    at = put_digits(at, in_day / 3600, 2, ':');
    at = put_digits(at, in_day / 60 % 60, 2, ':');
    at = put_digits(at, in_day % 60, 2, '.');
    at = put_digits(at, realtime_ns % 1000000000 / 1000, 6, 'Z');
    *at = 0;
}

json_t *api_json_time(uint64_t realtime_ns)
{
    char text[API_TIME_BYTES];
    if (!realtime_ns)
        return json_null();
    api_time_format(text, realtime_ns);
    return json_string(text);
}

/* Length of the valid UTF-8 sequence at text, 0 if it is none. */
static size_t utf8_size(const unsigned char *text, size_t left)
{
    unsigned char c = text[0];
    if (c < 0x80)
        return c != 0;
    size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) ||
        (c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] > 0x8f))
        return 0;
    return size;
}

json_t *api_json_bytes(const char *text, size_t size)
{
    json_t *plain = json_stringn(text, size);
    if (plain && !memchr(text, 0, size))
        return plain;
    json_decref(plain);
    struct api_buf mended = {0};
    for (size_t at = 0; at < size;) {
        size_t step = utf8_size((const unsigned char *)text + at, size - at);
        if (step)
            api_buf_add(&mended, text + at, step);
        else
            api_buf_str(&mended, "\xef\xbf\xbd"); /* U+FFFD */
        at += step ? step : 1;
    }
    json_t *value = json_stringn(mended.data ? mended.data : "", mended.size);
    api_buf_free(&mended);
    return value;
}

json_t *api_json_string(const char *text)
{
    return text ? api_json_bytes(text, strlen(text)) : json_null();
}

/* ---- In: the body ---------------------------------------------------------------------------- */

/* Nesting of brackets outside strings, as deep as the text goes; wrong text is the parser's to
 * refuse. */
static bool too_deep(const char *text, size_t size)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > API_JSON_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static bool is_json_type(const char *type)
{
    size_t size = strcspn(type, "; \t");
    return size == strlen(API_TYPE_JSON) && strncasecmp(type, API_TYPE_JSON, size) == 0;
}

/*
 * The next parameter of a media type, `at` its ';': true, with its name and its value, quotes taken off, and `at` behind
 * it. A backslash in quotes escapes nothing that a charset has, so that it makes the value one that nobody knows.
 */
static bool next_parameter(const char **at, const char **name, size_t *name_size,
                           const char **value, size_t *value_size)
{
    const char *c = *at + strspn(*at, "; \t");
    if (!*c)
        return false;
    *name = c;
    *name_size = strcspn(c, "=; \t");
    c += *name_size;
    *value = c;
    *value_size = 0;
    if (*c == '=' && c[1] == '"') {
        *value = c + 2;
        *value_size = strcspn(c + 2, "\"");
        c += 2 + *value_size;
    } else if (*c == '=') {
        *value = c + 1;
        *value_size = strcspn(c + 1, "; \t");
        c += 1 + *value_size;
    }
    *at = c + strcspn(c, ";");
    return true;
}

/* JSON is UTF-8, and a text that says it is in another charset is not what it seems. */
static bool is_utf8_type(const char *type)
{
    const char *at = type + strcspn(type, ";"), *name, *value;
    size_t name_size, value_size;
    while (next_parameter(&at, &name, &name_size, &value, &value_size))
        if (name_size == 7 && strncasecmp(name, "charset", 7) == 0 &&
            (value_size != 5 || strncasecmp(value, "utf-8", 5)))
            return false;
    return true;
}

static const struct api_field *find_field(const struct api_field *fields, const char *name)
{
    for (; fields && fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

static bool parse_body(struct api_call *call)
{
    const struct api_request *request = &call->request;
    const char *type = api_request_header(request, "content-type");
    if (!type || !is_json_type(type)) {
        api_problem(call, 415, API_CODE_UNSUPPORTED_TYPE,
                    "the body must be sent as application/json, not as %.100s; use curl --json "
                    "instead of curl -d",
                    type ? type : "no type at all");
        return false;
    }
    if (!is_utf8_type(type)) {
        api_problem(call, 415, API_CODE_UNSUPPORTED_TYPE,
                    "the body must be sent in UTF-8, which is application/json without a charset or with "
                    "charset=utf-8, not as %.100s",
                    type);
        return false;
    }
    const char *coding = api_request_header(request, "content-encoding");
    if (coding && strcasecmp(coding, "identity")) {
        api_problem(call, 415, API_CODE_UNSUPPORTED_TYPE,
                    "the body must be sent as it is, without the Content-Encoding %.100s", coding);
        return false;
    }
    if (memchr(request->body, 0, request->body_bytes)) { /* jansson passes over one behind a number */
        api_problem(call, 400, API_CODE_BAD_REQUEST, "the body has a NUL byte, which JSON has nowhere");
        return false;
    }
    if (too_deep(request->body, request->body_bytes)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "the JSON body is nested deeper than %d",
                    API_JSON_DEPTH_MAX);
        return false;
    }
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_error_t error;
    call->body = json_loadb(request->body, request->body_bytes, flags, &error);
    bool large = !call->body && json_error_code(&error) == json_error_numeric_overflow;
    if (large && find_field(call->route->fields, "args"))
        call->body = api_args_apart(request->body, request->body_bytes, flags, &call->args, &error);
    if (call->args.failed) {
        api_problem_no_memory(call);
        return false;
    }
    if (!call->body) {
        large = json_error_code(&error) == json_error_numeric_overflow;
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "the body is not %s: %s (line %d, column %d)%s",
                    large ? "usable" : "valid JSON", error.text, error.line, error.column,
                    large ? "; fields take integers from -2^63 to 2^63-1" : "");
        return false;
    }
    if (!json_is_object(call->body)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "the body must be a JSON object, {…}");
        return false;
    }
    return true;
}

static bool check_uint(struct api_call *call, const struct api_field *field, const json_t *value)
{
    json_int_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= 0 && (uint64_t)number >= field->min &&
        (uint64_t)number <= field->max)
        return true;
    api_problem(call, 400, API_CODE_BAD_REQUEST,
                "field %s must be an integer from %" PRIu64 " to %" PRIu64, field->name, field->min,
                field->max);
    return false;
}

static bool check_ids(struct api_call *call, const struct api_field *field, const json_t *value)
{
    size_t i, size = json_array_size(value);
    json_t *item;
    bool valid = json_is_array(value) && size >= field->min && size <= field->max;
    if (valid)
        json_array_foreach((json_t *)value, i, item) valid =
            valid && json_is_integer(item) && json_integer_value(item) >= 1 &&
            json_integer_value(item) <= (json_int_t)API_ID_MAX;
    if (valid)
        return true;
    api_problem(call, 400, API_CODE_BAD_REQUEST,
                "field %s must be an array of %" PRIu64 " to %" PRIu64
                " ids, which are integers from 1 to 9007199254740991",
                field->name, field->min, field->max);
    return false;
}

/* Only `args` may have it: every other string is handed on as C has them. */
static bool has_nul(const json_t *string)
{
    return strlen(json_string_value(string)) != json_string_length(string);
}

static bool check_field(struct api_call *call, const struct api_field *field, const json_t *value)
{
    switch (field->type) {
    case API_FIELD_UINT:
        return check_uint(call, field, value);
    case API_FIELD_BOOL:
        if (json_is_boolean(value))
            return true;
        api_problem(call, 400, API_CODE_BAD_REQUEST, "field %s must be true or false", field->name);
        return false;
    case API_FIELD_STRING:
        if (json_is_string(value) && json_string_length(value) >= field->min &&
            json_string_length(value) <= field->max && !has_nul(value))
            return true;
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "field %s must be a string of %" PRIu64 " to %" PRIu64
                    " bytes, without \\u0000",
                    field->name, field->min, field->max);
        return false;
    case API_FIELD_OBJECT:
        if (json_is_object(value))
            return true;
        api_problem(call, 400, API_CODE_BAD_REQUEST, "field %s must be an object", field->name);
        return false;
    case API_FIELD_ANY:
        return true;
    case API_FIELD_IDS:
        return check_ids(call, field, value);
    }
    return false;
}

bool api_body_read(struct api_call *call)
{
    const struct api_field *fields = call->route->fields;
    if (call->request.body_bytes == 0)
        call->body = json_object();
    else if (!parse_body(call))
        return false;
    const char *name;
    json_t *value;
    json_object_foreach(call->body, name, value)
    {
        const struct api_field *field = find_field(fields, name);
        if (!field) {
            api_problem(call, 400, API_CODE_UNKNOWN_FIELD, "there is no field \"%.100s\" here",
                        name);
            return false;
        }
        if (!check_field(call, field, value))
            return false;
    }
    for (; fields && fields->name; fields++)
        if (fields->required && !json_object_get(call->body, fields->name)) {
            api_problem(call, 400, API_CODE_BAD_REQUEST, "field %s is required", fields->name);
            return false;
        }
    return true;
}

uint64_t api_body_uint(const struct api_call *call, const char *name, uint64_t otherwise)
{
    json_t *value = json_object_get(call->body, name);
    return value ? (uint64_t)json_integer_value(value) : otherwise;
}

const char *api_body_string(const struct api_call *call, const char *name)
{
    return json_string_value(json_object_get(call->body, name));
}

/* ---- In: query parameters -------------------------------------------------------------------- */

static bool check_param(struct api_call *call, const struct api_field *field, const char *value)
{
    uint64_t number;
    if (field->type == API_FIELD_UINT && !api_parse_uint(value, field->min, field->max, &number)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "parameter %s must be an integer from %" PRIu64 " to %" PRIu64, field->name,
                    field->min, field->max);
        return false;
    }
    if (field->type == API_FIELD_BOOL && strcmp(value, "true") && strcmp(value, "false") &&
        strcmp(value, "1") && strcmp(value, "0")) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter %s must be true or false",
                    field->name);
        return false;
    }
    return true;
}

static const struct api_field common_params[] = {{"format", API_FIELD_STRING, 0, 0, false}, {0}};
static const struct api_field list_params[] = {{"limit", API_FIELD_UINT, 1, API_LIMIT_MAX, false},
                                               {"cursor", API_FIELD_STRING, 0, 0, false},
                                               {0}};

bool api_params_check(struct api_call *call)
{
    const struct api_route *route = call->route;
    for (size_t i = 0; i < call->target.param_count; i++) {
        const struct api_param *param = &call->target.param[i];
        const struct api_field *field = find_field(route->params, param->name);
        /* Not under /v1: tools add parameters of their own. */
        if (!field && route->flags & API_ROUTE_PLAIN)
            continue;
        if (!field)
            field = find_field(common_params, param->name);
        if (!field && route->flags & API_ROUTE_LIST)
            field = find_field(list_params, param->name);
        if (!field) {
            api_problem(call, 400, API_CODE_UNKNOWN_PARAMETER,
                        "there is no query parameter \"%.100s\" here", param->name);
            return false;
        }
        if (api_target_param(&call->target, param->name) != param->value) {
            api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter %s is given twice",
                        field->name);
            return false;
        }
        if (!check_param(call, field, param->value))
            return false;
    }
    return true;
}

const char *api_param(const struct api_call *call, const char *name)
{
    return api_target_param(&call->target, name);
}

uint64_t api_param_uint(const struct api_call *call, const char *name, uint64_t otherwise)
{
    const char *text = api_param(call, name);
    uint64_t value = otherwise;
    if (text)
        api_parse_uint(text, 0, UINT64_MAX, &value);
    return value;
}

bool api_param_bool(const struct api_call *call, const char *name, bool otherwise)
{
    const char *text = api_param(call, name);
    return text ? text[0] == 't' || text[0] == '1' : otherwise;
}
