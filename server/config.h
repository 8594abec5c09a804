/*
 * config.h: what graspd was told: flags, and a JSON file with the same names.
 *
 * The file is read first, so that a flag beats it; repeatable names add up. A value that makes no
 * sense is an error that names the flag, never a silent default.
 */
#ifndef SRV_CONFIG_H
#define SRV_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grasp/runtime.h>

#define SRV_LISTENERS_MAX 16
#define SRV_HOSTS_MAX     64

struct srv_config {
    char *unix_path;
    uint64_t unix_mode; /* as octal */
    char *unix_group;
    char *gdb_unix;
    char *listen[SRV_LISTENERS_MAX];
    size_t listen_count;
    char *allow_host[SRV_HOSTS_MAX];
    size_t allow_host_count;
    bool allow_remote, no_auth;
    char *modules_dir, *state_dir, *token_file, *config_file;
    uint64_t drain_seconds, procs, max_goroutines, time_slice_us, fold_after_ms;
    bool async_preempt, nice, unguarded_stacks;
    char *stack_guard;
    /* Of a connection: until the headers are there, the whole request; without a request; without
     * the client taking a byte of what is to be sent. */
    uint64_t head_seconds, request_seconds, idle_seconds, stall_seconds;
    bool version, help, check_config, print_config;
};

/* Defaults. */
void srv_config_init(struct srv_config *config);
void srv_config_fini(struct srv_config *config);
/* 0, or -EINVAL or -ENOMEM with a sentence in err. Opens the file of --config and nothing else. */
int srv_config_parse(struct srv_config *config, int argc, char *const *argv, char *err,
                     size_t err_bytes);
/* The options that count, defaults and all, as the JSON object that --config reads; malloc'ed, NULL:
 * no memory. */
char *srv_config_print(const struct srv_config *config);
void srv_config_runtime(const struct srv_config *config, struct gr_options *options);
extern const char srv_usage[];

#endif
