/*
 * swap.c: see swap.h.
 */
#include "swap.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WATCHDOG_SECONDS 60

static char dir[] = P_tmpdir "/grasp-swap-XXXXXX", path[64], fresh[64];
static char early_dir[] = P_tmpdir "/grasp-early-XXXXXX", early[64];

void swap_check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
}

const char *swap_init(void)
{
    swap_check(mkdtemp(dir) != NULL, "a temporary directory");
    /* As the loader will have it. */
    snprintf(path, sizeof path, "%s/swap.so", dir);
    snprintf(fresh, sizeof fresh, "%s/fresh", dir);
    return path;
}

void swap_fini(void)
{
    unlink(path);
    rmdir(dir);
    if (early[0]) {
        unlink(early);
        rmdir(early_dir);
    }
}

static void copy(const char *from, const char *to, int flags)
{
    char block[16384];
    ssize_t size;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, flags | O_WRONLY | O_CLOEXEC, 0700);
    swap_check(in >= 0 && out >= 0, "a build and its copy open");
    while ((size = read(in, block, sizeof block)) > 0)
        swap_check(write(out, block, (size_t)size) == size, "a build is copied");
    close(in);
    close(out);
}

static void copy_build(int number, const char *to, int flags)
{
    char from[256];

    snprintf(from, sizeof from, MODULES "/loader_swap_%d.so", number);
    copy(from, to, flags);
}

const char *swap_early(void)
{
    if (early[0])
        return early;
    swap_check(mkdtemp(early_dir) != NULL, "a temporary directory");
    snprintf(early, sizeof early, "%s/early.so", early_dir);
    copy(MODULES "/loader_early.so", early, O_CREAT | O_EXCL);
    return early;
}

void swap_install(int number)
{
    copy_build(number, fresh, O_CREAT | O_EXCL);
    swap_check(rename(fresh, path) == 0, "a build is put in place");
}

void swap_overwrite(int number)
{
    copy_build(number, path, 0);
}

unsigned swap_mapped(void)
{
    char line[4400];
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned count = 0;

    swap_check(maps != NULL, "/proc/self/maps");
    while (fgets(line, sizeof line, maps))
        count += strstr(line, dir) && strstr(line, "r-xp") ? 1 : 0;
    fclose(maps);
    return count;
}

bool swap_eventually_mapped(unsigned wanted)
{
    time_t end = time(NULL) + WATCHDOG_SECONDS;

    while (swap_mapped() != wanted) {
        if (time(NULL) > end)
            return false;
        sched_yield();
    }
    return true;
}
