/*
 * stack.c: goroutine stacks: 256 KiB of address space each, the lowest 64 KiB a guard.
 *
 * They are cut from slabs of SLAB_STACKS, mapped without reserve and without huge pages (with them an idle
 * goroutine costs 65 KB). The guard is a guard region where the kernel has MADV_GUARD_INSTALL (6.13: no
 * mapping is split), else mprotect (two mappings a stack: vm.max_map_count ends that at about 30,000), or
 * none (--unguarded-stacks). 64 KiB, because libc has functions with frames of several pages that were not
 * built with stack probes and would step over a one-page guard.
 *
 * Under overcommit_memory=2 a writable mapping is charged at once, so slabs are PROT_NONE there and each
 * stack is made accessible when it is first used.
 *
 * Each goroutine slot has a stack (registry.c), which goes to another slot by exchange only; large ones go back.
 *
 * Lock: slab_lock.
 */
#include "scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define STACK_BYTES   ((size_t)256 * 1024)
#define GUARD_BYTES   ((size_t)64 * 1024)
#define SLAB_STACKS   64
#define MAPPINGS_KEPT 4096

static struct gri_lock slab_lock;
static uint8_t *slab_at, *slab_end; /* the present slab's unused rest */
static enum { BY_REGION, BY_MPROTECT, BY_NOTHING } guard_how;
static bool strict_commit; /* overcommit_memory=2 */
static _Atomic(uint64_t) mapped_bytes, unguarded;
static uint64_t split_max; /* so many stacks may split a mapping, each into two more */
static _Atomic(uint64_t) split;

static int map_stacks(size_t bytes, uint8_t **out)
{
    int access = strict_commit ? PROT_NONE : PROT_READ | PROT_WRITE;
    void *at =
        mmap(NULL, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (at == MAP_FAILED)
        return -ENOMEM;
    madvise(at, bytes, MADV_NOHUGEPAGE);
    atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    *out = at;
    return 0;
}

static void unmap_stack(uint8_t *base, size_t bytes)
{
    munmap(base, bytes);
    /* relaxed: a count. */
    atomic_fetch_sub_explicit(&mapped_bytes, bytes, memory_order_relaxed);
}

static bool splits(void)
{
    return strict_commit || guard_how == BY_MPROTECT;
}

/* By two protections in one mapping. The rest of the process keeps MAPPINGS_KEPT of vm.max_map_count, so that it can say so. */
static int prepare_split(uint8_t *base, size_t bytes)
{
    /* relaxed, both: a count. */
    bool room = atomic_fetch_add_explicit(&split, 1, memory_order_relaxed) < split_max;
    int failed = !room ? -1
                 : strict_commit
                     ? mprotect(base + GUARD_BYTES, bytes - GUARD_BYTES, PROT_READ | PROT_WRITE)
                     : mprotect(base, GUARD_BYTES, PROT_NONE);

    if (!failed)
        return 0;
    atomic_fetch_sub_explicit(&split, 1, memory_order_relaxed);
    return -ENOMEM;
}

/* Guards [base, base + GUARD_BYTES) and opens the rest. -ENOMEM: too many mappings. */
static int prepare(uint8_t *base, size_t bytes)
{
    if (splits())
        return prepare_split(base, bytes);
    if (guard_how == BY_REGION)
        return madvise(base, GUARD_BYTES, MADV_GUARD_INSTALL) == 0 ? 0 : -ENOMEM;
    atomic_fetch_add_explicit(&unguarded, 1, memory_order_relaxed);
    return 0;
}

/* Whether the kernel can't read there. An emulator takes an advice that it does not know for done (qemu-user does). */
static bool is_guarded(const void *at)
{
    int end[2];
    bool faults;

    if (pipe2(end, O_NONBLOCK | O_CLOEXEC) != 0)
        return false;
    faults = write(end[1], at, 1) < 0 && errno == EFAULT;
    close(end[0]);
    close(end[1]);
    return faults;
}

static bool kernel_has_guard_regions(void)
{
    long page = sysconf(_SC_PAGESIZE);
    void *at = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has;

    if (at == MAP_FAILED)
        return false;
    has = madvise(at, (size_t)page, MADV_GUARD_INSTALL) == 0 && is_guarded(at);
    munmap(at, (size_t)page);
    return has;
}

static void find_split_max(void)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long most = 0;

    if (!f || fscanf(f, "%lu", &most) != 1 || most < 2 * MAPPINGS_KEPT)
        most = 65530; /* the kernel's default */
    if (f)
        fclose(f);
    split_max = (most - MAPPINGS_KEPT) / 2;
}

void gri_stack_init(enum gr_stack_guard guard)
{
    FILE *f = fopen("/proc/sys/vm/overcommit_memory", "re");
    int mode = f ? fgetc(f) : '0';

    if (f)
        fclose(f);
    strict_commit = mode == '2' || guard == GR_GUARD_COMMIT;
    find_split_max();
    if (guard == GR_GUARD_NONE)
        guard_how = BY_NOTHING;
    else if (guard == GR_GUARD_AUTO && kernel_has_guard_regions())
        guard_how = BY_REGION;
    else
        guard_how = BY_MPROTECT;
}

size_t gri_stack_default_bytes(void)
{
    return STACK_BYTES - GUARD_BYTES;
}

/* slab_lock held. */
static int cut_from_slab(uint8_t **out)
{
    int error;

    if (slab_at == slab_end) {
        error = map_stacks(SLAB_STACKS * STACK_BYTES, &slab_at);
        if (error) {
            slab_at = slab_end = NULL;
            return error;
        }
        slab_end = slab_at + SLAB_STACKS * STACK_BYTES;
    }
    error = prepare(slab_at, STACK_BYTES);
    if (error)
        return error;
    *out = slab_at;
    slab_at += STACK_BYTES;
    return 0;
}

static int alloc_large(struct gri_stack *stack, size_t usable_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = ((usable_bytes + page - 1) & ~(page - 1)) + GUARD_BYTES;
    uint8_t *base;
    int error = map_stacks(bytes, &base);

    if (error)
        return error;
    error = prepare(base, bytes);
    if (error) {
        unmap_stack(base, bytes);
        return error;
    }
    *stack = (struct gri_stack){base + GUARD_BYTES, base + bytes,
                                !splits() && guard_how == BY_NOTHING, true, bytes};
    return 0;
}

int gri_stack_alloc(struct gri_stack *stack, size_t usable_bytes)
{
    uint8_t *base;
    int error;

    if (usable_bytes && usable_bytes != gri_stack_default_bytes())
        return alloc_large(stack, usable_bytes);
    gri_lock(&slab_lock);
    error = cut_from_slab(&base);
    gri_unlock(&slab_lock);
    if (error)
        return error;
    *stack = (struct gri_stack){base + GUARD_BYTES, base + STACK_BYTES,
                                !splits() && guard_how == BY_NOTHING, false, STACK_BYTES};
    return 0;
}

void gri_stack_free(struct gri_stack *stack)
{
    GRI_ASSERT(stack->large);
    unmap_stack(stack->hi - stack->map_bytes, stack->map_bytes);
    /* relaxed, both: counts. */
    if (splits())
        atomic_fetch_sub_explicit(&split, 1, memory_order_relaxed);
    if (stack->unguarded)
        atomic_fetch_sub_explicit(&unguarded, 1, memory_order_relaxed);
    memset(stack, 0, sizeof *stack);
}

void gri_stack_stats(uint64_t *mapped, uint64_t *without_guard)
{
    *mapped = atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
    *without_guard = atomic_load_explicit(&unguarded, memory_order_relaxed);
}
