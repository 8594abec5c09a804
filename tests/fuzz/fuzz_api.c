/*
 * fuzz_api.c: a parsed request: "METHOD TARGET\nBODY", through routes, query, selectors, cursors and
 * JSON to an answer, over the fake runtime of unit/api. Every answer is a known status, and every
 * error a problem with a code.
 */
#include <string.h>

#include "fake.h"
#include "fuzz.h"

#define METHOD_BYTES_MAX 32

#define REUSES 64 /* an API takes longer to make than a call does */

/* A new API with some goroutines, or the last one with what has become of it. */
static void set_up(void)
{
    static unsigned uses;
    if (uses++ % REUSES)
        return;
    if (uses > 1)
        fake_host_stop(NULL);
    fake_host_start(NULL);
    fake_label(fake_goroutine(GR_WAITING), "k", "v");
    fake_goroutine(GR_RUNNING);
    fake_end(fake_goroutine(GR_RUNNING));
    fake_ask("POST", "/v1/goroutines/1/suspend", "{}", NULL);
}

static void check(const struct fake_call *fake)
{
    int status = fake->call.reply.status;
    CLAIM(status >= 200 && status < 600 && strcmp(api_status_text(status), "Unknown"),
          "a status is a known one");
    if (status < 400)
        return;
    json_t *problem = json_loads(fake->body ? fake->body : "", JSON_REJECT_DUPLICATES, NULL);
    CLAIM(problem && fake_code(problem)[0] &&
              json_integer_value(json_object_get(problem, "status")) == status,
          "an error is a problem with a code");
    json_decref(problem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *target, *body;
    memcpy(text, data, size);
    text[size] = 0;
    target = strchr(text, ' ');
    body = target ? strchr(target, '\n') : NULL;
    size_t target_bytes = target ? strcspn(target + 1, "\n") : 0;
    /* What the parser lets through; its longest method has 13 bytes. */
    if (target && target - text <= METHOD_BYTES_MAX && strlen(text) == size &&
        target_bytes <= API_URI_BYTES_MAX) {
        *target++ = 0;
        if (body)
            *body++ = 0;
        set_up();
        struct fake_call *fake = fake_start(text, target, body && *body ? body : NULL);
        fake_run();
        if (!fake->replied) {
            /* It waits: for a stop, an end or an event. */
            api_call_abandon(&fake->call);
            fake_run();
        }
        CLAIM(fake->replied, "an abandoned call is answered");
        check(fake);
        fake_finish(fake, size & 1);
    }
    free(text);
    return 0;
}
