/*
 * pipeline.c: the concurrent prime sieve of Hoare and McIlroy, over channels.
 *
 * A generator sends 2, 3, 4, …; each prime that arrives at the end of the chain gets a filter
 * goroutine that lets through what the prime does not divide. N primes are N goroutines that do
 * little but hand over: a test of the scheduler and the channels, not a way to find primes.
 *
 * The chain ends from its tail: a closed channel makes the sender's next send fail with -EPIPE, the
 * sender closes the channel that it receives from, and so on up to the generator. Each channel
 * belongs to its sender and its receiver; whoever lets go last destroys it.
 *
 *   {"primes": N}     default 1000; the result is {"primes": N, "last": p}
 */
#include <errno.h>
#include <stdatomic.h>
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

static void generate(void *arg)
{
    struct link *out = arg;
    for (uint64_t n = 2; gr_chan_send(out->chan, &n) == 0; n++)
        ;
    link_leave(out);
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

/* Puts a filter behind `in`; returns the new end of the chain, or NULL, and then `in` still is the
 * end. */
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

/* Receives `count` primes from the chain that begins at *end, which moves along. 0 or a negative
 * errno. */
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
    struct link *end = link_create();
    if (!end)
        return -ENOMEM;
    if (gr_go(generate, end) == 0) {
        link_leave(end);
        link_leave(end);
        return -ENOMEM;
    }
    uint64_t last = 0;
    int result = collect(&end, count, &last);
    link_leave(end);
    if (result != 0)
        return result;
    char text[96];
    snprintf(text, sizeof(text), "{\"primes\":%llu,\"last\":%llu}", (unsigned long long)count,
             (unsigned long long)last);
    return gr_result(text);
}
GR_ENTRY("sieve", sieve, "The concurrent prime sieve: {\"primes\": N}");
