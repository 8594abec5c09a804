/*
 * pipeline.c: the concurrent prime sieve of Hoare and McIlroy, over channels.
 *
 * A generator sends 2, 3, 4, …; each prime that arrives at the end of the chain gets a filter
 * goroutine that lets through what the prime does not divide. N primes are N goroutines that do
 * little but hand over: a test of the scheduler and the channels, not a way to find primes.
 *
 * The chain ends from its head: the generator is told to stop and closes its channel, the first
 * filter finds it closed and empty and closes its own, and so on. If a filter is asked to end by
 * itself both its channels are closed, and the chain ends in both directions. Each channel belongs
 * to its sender and its receiver; whoever lets go last destroys it.
 *
 *   {"primes": N}     default 1000; the result is {"primes": N, "last": p}
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <grasp/goroutine.h>

#include "args.h"

#define PRIMES_DEFAULT 1000
#define PRIMES_MAX     100000
#define LINK_CAPACITY  16

struct link {
    struct gr_chan *chan;
    _Atomic int owners;
};

static struct link *link_create(void)
{
    struct link *link = malloc(sizeof(*link));
    if (!link)
        return NULL;
    link->chan = gr_chan_create(sizeof(uint64_t), LINK_CAPACITY);
    atomic_init(&link->owners, 2);
    if (link->chan)
        return link;
    free(link);
    return NULL;
}

/* The caller, one of two owners, uses the link no more; the other finds it closed. */
static void link_leave(struct link *link)
{
    gr_chan_close(link->chan);
    /* acq_rel; pairs with itself in the other owner: its last use comes before the destruction. */
    if (atomic_fetch_sub_explicit(&link->owners, 1, memory_order_acq_rel) > 1)
        return;
    gr_chan_destroy(link->chan);
    free(link);
}

struct filter {
    struct link *in, *out;
    uint64_t prime;
};

/* The head of the chain: owned by the generator and by whoever tells it to stop. */
struct source {
    struct link *out;
    atomic_bool stop; /* relaxed: a few numbers more do no harm */
    _Atomic int owners;
};

static void source_leave(struct source *source)
{
    /* acq_rel; as in link_leave. */
    if (atomic_fetch_sub_explicit(&source->owners, 1, memory_order_acq_rel) == 1)
        free(source);
}

static void generate(void *arg)
{
    struct source *source = arg;
    uint64_t n = 2;
    while (!atomic_load_explicit(&source->stop, memory_order_relaxed) &&
           gr_chan_send(source->out->chan, &n) == 0)
        n++;
    link_leave(source->out);
    source_leave(source);
}

/* Starts the generator; the caller owns the source and the receiving end of its channel. NULL: no memory. */
static struct source *start_source(void)
{
    struct source *source = malloc(sizeof(*source));
    struct link *out = source ? link_create() : NULL;
    if (!out) {
        free(source);
        return NULL;
    }
    source->out = out;
    atomic_init(&source->stop, false);
    atomic_init(&source->owners, 2);
    if (gr_go_with(&(struct gr_go_opts){.fn = generate, .arg = source, .name = "generator"}) > 0)
        return source;
    link_leave(out);
    link_leave(out);
    free(source);
    return NULL;
}

static void filter_main(void *arg)
{
    struct filter f = *(struct filter *)arg;
    free(arg);
    uint64_t n;
    while (gr_chan_recv(f.in->chan, &n) == 0)
        if (n % f.prime != 0 && gr_chan_send(f.out->chan, &n) != 0)
            break;
    link_leave(f.in);
    link_leave(f.out);
}

/* Puts a filter behind `in`; returns the new end of the chain, or NULL, and then `in` still is the end. */
static struct link *add_filter(struct link *in, uint64_t prime)
{
    struct filter *f = malloc(sizeof(*f));
    struct link *out = f ? link_create() : NULL;
    if (!out) {
        free(f);
        return NULL;
    }
    *f = (struct filter){in, out, prime};
    char name[GR_NAME_MAX + 1];
    snprintf(name, sizeof(name), "filter %llu", (unsigned long long)prime);
    if (gr_go_with(&(struct gr_go_opts){.fn = filter_main, .arg = f, .name = name}) > 0)
        return out;
    link_leave(out);
    link_leave(out);
    free(f);
    return NULL;
}

/* Receives `count` primes from the chain that begins at *end, which moves along. 0 or a negative errno. */
static int collect(struct link **end, uint64_t count, uint64_t *last)
{
    for (uint64_t i = 0; i < count; i++) {
        int result = gr_chan_recv((*end)->chan, last);
        if (result != 0)
            return result;
        if (i + 1 == count)
            break;
        struct link *next = add_filter(*end, *last);
        if (!next) {
            gr_log("pipeline: no goroutine for prime %llu: memory or --max-goroutines",
                   (unsigned long long)*last);
            return -ENOMEM;
        }
        *end = next;
    }
    return 0;
}

static int sieve(const char *args)
{
    uint64_t count = args_u64(args, "primes", PRIMES_DEFAULT);
    if (count == 0 || count > PRIMES_MAX) {
        gr_log("pipeline: \"primes\" must be 1 to %d", PRIMES_MAX);
        return -EINVAL;
    }
    struct source *source = start_source();
    if (!source)
        return -ENOMEM;
    struct link *end = source->out;
    uint64_t last = 0;
    int result = collect(&end, count, &last);
    atomic_store_explicit(&source->stop, true, memory_order_relaxed);
    source_leave(source);
    link_leave(end);
    if (result != 0)
        return result;
    char text[96];
    snprintf(text, sizeof(text), "{\"primes\":%llu,\"last\":%llu}", (unsigned long long)count,
             (unsigned long long)last);
    return gr_result(text);
}
GR_ENTRY("sieve", sieve, "The concurrent prime sieve: {\"primes\": N}");
