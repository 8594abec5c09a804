/*
 * test_api_openapi.c: the document says what the table of routes does: each call, its scope, its
 * query parameters and its body's fields with their types and ranges, and nothing else.
 *
 * What answers look like is checked against the document by tests/contract.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"
#include "internal.h"

static json_t *document;
static unsigned faults;

/* All of them are told before the test fails. */
static void fault(const struct api_route *route, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void fault(const struct api_route *route, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    print_error("api/openapi.json, %s %s: %s\n", route->method, route->path, text);
    faults++;
}

static json_t *resolved(json_t *value)
{
    const char *ref = json_string_value(json_object_get(value, "$ref"));
    char path[256], *save;
    if (!ref)
        return value;
    snprintf(path, sizeof path, "%s", ref + 2);
    value = document;
    for (char *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save))
        value = json_object_get(value, part);
    assert_non_null(value);
    return value;
}

static json_t *operation(const struct api_route *route)
{
    char method[16] = "";
    for (size_t i = 0; route->method[i]; i++)
        method[i] = (char)(route->method[i] | 0x20);
    json_t *path = json_object_get(json_object_get(document, "paths"), route->path);
    return json_object_get(path, method);
}

static bool type_fits(const struct api_field *field, const json_t *schema)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    switch (field->type) {
    case API_FIELD_UINT:
        return type && strcmp(type, "integer") == 0;
    case API_FIELD_BOOL:
        return type && strcmp(type, "boolean") == 0;
    case API_FIELD_STRING:
        return type && strcmp(type, "string") == 0;
    case API_FIELD_OBJECT:
        return type && strcmp(type, "object") == 0;
    case API_FIELD_ANY:
        return !type;
    default:
        return type && strcmp(type, "array") == 0;
    }
}

static void check_field(const struct api_route *route, const struct api_field *field,
                        const json_t *schema)
{
    if (!schema) {
        fault(route, "it does not describe \"%s\"", field->name);
        return;
    }
    if (!type_fits(field, schema))
        fault(route, "\"%s\" has another type", field->name);
    if (field->type == API_FIELD_UINT &&
        ((uint64_t)json_integer_value(json_object_get(schema, "minimum")) != field->min ||
         (uint64_t)json_integer_value(json_object_get(schema, "maximum")) != field->max))
        fault(route, "\"%s\" goes from %" PRIu64 " to %" PRIu64, field->name, field->min,
              field->max);
    json_t *longest = json_object_get(schema, "maxLength");
    if (field->type == API_FIELD_STRING && longest &&
        (uint64_t)json_integer_value(longest) != field->max)
        fault(route, "\"%s\" has %" PRIu64 " bytes at most", field->name, field->max);
}

static bool takes(const struct api_field *fields, const char *name)
{
    for (; fields && fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return true;
    return false;
}

/* The schema of a query parameter, NULL: there is none of that name. */
static json_t *parameter(json_t *operation_json, const char *name)
{
    size_t i;
    json_t *each;
    json_array_foreach(json_object_get(operation_json, "parameters"), i, each)
    {
        each = resolved(each);
        if (strcmp(json_string_value(json_object_get(each, "in")), "query") == 0 &&
            strcmp(json_string_value(json_object_get(each, "name")), name) == 0)
            return json_object_get(each, "schema");
    }
    return NULL;
}

static void check_parameters(const struct api_route *route, json_t *operation_json)
{
    size_t i;
    json_t *each;
    for (const struct api_field *field = route->params; field && field->name; field++)
        check_field(route, field, parameter(operation_json, field->name));
    json_array_foreach(json_object_get(operation_json, "parameters"), i, each)
    {
        each = resolved(each);
        const char *name = json_string_value(json_object_get(each, "name"));
        bool general = strcmp(name, "format") == 0 || strcmp(name, "limit") == 0 ||
                       strcmp(name, "cursor") == 0;
        if (strcmp(json_string_value(json_object_get(each, "in")), "query") == 0 && !general &&
            !takes(route->params, name))
            fault(route, "it takes no parameter \"%s\"", name);
    }
    if (((route->flags & API_ROUTE_LIST) != 0) != (parameter(operation_json, "cursor") != NULL))
        fault(route, "limit and cursor are those of lists");
}

static bool is_required(json_t *schema, const char *name)
{
    size_t i;
    json_t *each;
    json_array_foreach(json_object_get(schema, "required"), i, each)
        if (strcmp(json_string_value(each), name) == 0)
            return true;
    return false;
}

static void check_body(const struct api_route *route, json_t *operation_json)
{
    json_t *body = json_object_get(operation_json, "requestBody");
    json_t *schema = json_object_get(
        json_object_get(json_object_get(body, "content"), API_TYPE_JSON), "schema");
    const char *name;
    json_t *property, *properties;
    if (!route->fields && body)
        fault(route, "it takes no body");
    if (!route->fields || !body) {
        if (route->fields)
            fault(route, "it takes a body");
        return;
    }
    properties = json_object_get(resolved(schema), "properties");
    for (const struct api_field *field = route->fields; field->name; field++) {
        check_field(route, field, json_object_get(properties, field->name));
        if (is_required(resolved(schema), field->name) != field->required)
            fault(route, "whether \"%s\" may be left out", field->name);
    }
    json_object_foreach(properties, name, property)
        if (!takes(route->fields, name))
            fault(route, "it takes no field \"%s\"", name);
}

static void check_scope(const struct api_route *route, json_t *operation_json)
{
    const char *scope = json_string_value(json_object_get(operation_json, "x-scope"));
    const char *wanted = route->scope == API_SCOPE_READ      ? "read"
                         : route->scope == API_SCOPE_CONTROL ? "control"
                         : route->scope == API_SCOPE_LOAD    ? "load"
                         : route->scope == API_SCOPE_ALL     ? "read control load"
                                                             : NULL;
    if ((scope == NULL) != (wanted == NULL) || (scope && strcmp(scope, wanted)))
        fault(route, "its scope is %s", wanted ? wanted : "none");
}

static void every_route_is_described_as_it_is(void **state)
{
    faults = 0;
    for (size_t i = 0; i < api_route_count; i++) {
        json_t *operation_json = operation(&api_routes[i]);
        if (!operation_json) {
            fault(&api_routes[i], "it is not described at all");
            continue;
        }
        check_parameters(&api_routes[i], operation_json);
        check_body(&api_routes[i], operation_json);
        check_scope(&api_routes[i], operation_json);
    }
    assert_int_equal(faults, 0);
}

static void nothing_else_is_described(void **state)
{
    const char *path, *method;
    json_t *methods, *operation_json;
    json_object_foreach(json_object_get(document, "paths"), path, methods)
    {
        json_object_foreach(methods, method, operation_json)
        {
            bool found = false;
            for (size_t i = 0; i < api_route_count; i++)
                found = found || (strcmp(api_routes[i].path, path) == 0 &&
                                  strcasecmp(api_routes[i].method, method) == 0);
            if (!found)
                fail_msg("api/openapi.json describes %s %s, which there is not", method, path);
        }
    }
}

static void the_document_is_served(void **state)
{
    json_t *served;
    assert_int_equal(fake_ask("GET", "/openapi.json", NULL, &served), 200);
    assert_true(json_equal(served, document));
    json_decref(served);
}

static int load_document(void **state)
{
    document = json_loadb(api_openapi, (size_t)(api_openapi_end - api_openapi),
                          JSON_REJECT_DUPLICATES, NULL);
    return document ? fake_host_start(state) : -1;
}

static int forget_document(void **state)
{
    json_decref(document);
    return fake_host_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described_as_it_is),
        cmocka_unit_test(nothing_else_is_described),
        cmocka_unit_test(the_document_is_served),
    };
    return cmocka_run_group_tests_name("openapi", tests, load_document, forget_document);
}
