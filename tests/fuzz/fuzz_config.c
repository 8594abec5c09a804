/*
 * fuzz_config.c: graspd's configuration file. What is accepted can be printed, and what was printed
 * means the same.
 */
#include <string.h>

#include "config.h"
#include "fuzz.h"

/* The printed form, NULL: refused. */
static char *read_config(const uint8_t *data, size_t size)
{
    struct srv_config config;
    char err[512] = "", flag[64], *text = NULL;
    char *arguments[] = {"graspd", flag, NULL};
    snprintf(flag, sizeof flag, "--config=%s", fuzz_file(data, size));
    srv_config_init(&config);
    if (srv_config_parse(&config, 2, arguments, err, sizeof err) == 0) {
        struct gr_options options;
        srv_config_runtime(&config, &options);
        text = srv_config_print(&config);
        CLAIM(text, "what was accepted can be printed");
    } else {
        CLAIM(err[0], "a refusal says why");
    }
    srv_config_fini(&config);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *once = read_config(data, size);
    if (!once)
        return 0;
    char *twice = read_config((const uint8_t *)once, strlen(once));
    CLAIM(twice && strcmp(once, twice) == 0, "what was printed means the same");
    free(once);
    free(twice);
    return 0;
}
