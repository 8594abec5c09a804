/*
 * everyday.c: what C programs do all day, each piece with a result that it checks, for as long as it is let.
 *
 * Whoever stops, looks at and lets go of these goroutines at any moment must change nothing: sorting with call-backs, locks,
 * name look-ups, printing and scanning, files and mappings, rounding modes, long jumps, signals, sockets, regular expressions.
 *
 * The entry starts two goroutines of each sort and sleeps until it is cancelled; it asks them to end, waits, and its result is
 * {"rounds": {SORT: N, …}}. A wrong value is a log line that begins with "WRONG", and the exit code 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <netdb.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sorts.h"

#define EACH   2
#define NUMBER 500

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static void sort(unsigned *seed)
{
    int value[NUMBER], wanted;
    for (int i = 0; i < NUMBER; i++)
        value[i] = rand_r(seed);
    wanted = value[NUMBER / 2];
    qsort(value, NUMBER, sizeof value[0], by_value);
    for (int i = 1; i < NUMBER; i++)
        EXPECT(value[i - 1] <= value[i]);
    const int *found = bsearch(&wanted, value, NUMBER, sizeof value[0], by_value);
    EXPECT(found && *found == wanted);
}

static void lock(unsigned *seed)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static long first, second; /* equal whenever the lock is free */
    pthread_mutex_lock(&mutex);
    EXPECT(first == second);
    first++;
    for (unsigned i = rand_r(seed) % 1000; i > 0; i--)
        __asm__ volatile("");
    second++;
    pthread_mutex_unlock(&mutex);
}

static void look_up(unsigned *seed)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char host[64], service[16];
    snprintf(service, sizeof service, "%u", rand_r(seed) % 65536);
    EXPECT(getaddrinfo("127.0.0.1", service, &hints, &list) == 0);
    if (!list)
        return;
    EXPECT(getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof host, NULL, 0,
                       NI_NUMERICHOST) == 0);
    EXPECT(strcmp(host, "127.0.0.1") == 0);
    freeaddrinfo(list);
}

static void print(unsigned *seed)
{
    char text[128], word[16], line[128];
    double number = (rand_r(seed) % 4096) / 8.0, read_number;
    int count;
    FILE *file = tmpfile();
    snprintf(text, sizeof text, "%.3f %s %d\n", number, "word", 42);
    EXPECT(sscanf(text, "%lf %15s %d", &read_number, word, &count) == 3);
    EXPECT(read_number == number && strcmp(word, "word") == 0 && count == 42);
    EXPECT(file && fputs(text, file) >= 0 && fflush(file) == 0);
    if (!file)
        return;
    rewind(file);
    EXPECT(fgets(line, sizeof line, file) && strcmp(line, text) == 0);
    fclose(file);
}

static void use_files(unsigned *seed)
{
    char bytes[4096], name[] = "/tmp/grasp-everyday-XXXXXX";
    struct stat status;
    int fd = mkstemp(name);
    EXPECT(fd >= 0);
    if (fd < 0)
        return;
    memset(bytes, 'a' + (int)(rand_r(seed) % 26), sizeof bytes);
    EXPECT(write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    EXPECT(fstat(fd, &status) == 0 && status.st_size == (off_t)sizeof bytes);
    const char *mapped = mmap(NULL, sizeof bytes, PROT_READ, MAP_SHARED, fd, 0);
    EXPECT(mapped != MAP_FAILED && memcmp(mapped, bytes, sizeof bytes) == 0);
    if (mapped != MAP_FAILED)
        munmap((void *)mapped, sizeof bytes);
    EXPECT(open("/nonexistent/file", O_RDONLY) == -1 && errno == ENOENT);
    close(fd);
    unlink(name);
}

static double third(void)
{
    volatile double one = 1, three = 3;
    return one / three;
}

static void round_up(unsigned *seed)
{
    int before = fegetround();
    double nearest = third(), upwards;
    (void)seed;
    fesetround(FE_UPWARD);
    upwards = third();
    for (int i = 0; i < 2000; i++)
        EXPECT(third() == upwards);
    EXPECT(fegetround() == FE_UPWARD);
    fesetround(before);
    EXPECT(third() == nearest && nearest < upwards);
}

static void jump_from(jmp_buf *place, int depth)
{
    if (depth < 0)
        return;
    if (depth == 0)
        longjmp(*place, 7);
    jump_from(place, depth - 1);
    __asm__ volatile(""); /* no tail call */
}

static void jump(unsigned *seed)
{
    jmp_buf place;
    volatile unsigned kept = rand_r(seed);
    unsigned same = kept;
    int came = setjmp(place);
    if (came == 0)
        jump_from(&place, 30);
    EXPECT(came == 7 && kept == same);
}

static _Atomic long raised, handled;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static void raise_signals(unsigned *seed)
{
    (void)seed;
    atomic_fetch_add(&raised, 1);
    EXPECT(raise(SIGUSR1) == 0);
}

static void talk(unsigned *seed)
{
    int pair[2];
    unsigned sent = rand_r(seed), got = 0;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    EXPECT(write(pair[0], &sent, sizeof sent) == (ssize_t)sizeof sent);
    EXPECT(read(pair[1], &got, sizeof got) == (ssize_t)sizeof got && got == sent);
    close(pair[0]);
    EXPECT(read(pair[1], &got, sizeof got) == 0);
    close(pair[1]);
    nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
}

static void match(unsigned *seed)
{
    regex_t pattern;
    regmatch_t part[3];
    char text[32], day[32];
    struct tm tm;
    time_t at = 1700000000;
    snprintf(text, sizeof text, "key=%u", rand_r(seed));
    EXPECT(regcomp(&pattern, "^([a-z]+)=([0-9]+)$", REG_EXTENDED) == 0);
    EXPECT(regexec(&pattern, text, 3, part, 0) == 0 && part[2].rm_so == 4);
    regfree(&pattern);
    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&at, &tm));
    EXPECT(strcmp(day, "2023-11-14") == 0);
}

static struct sort sorts[] = {{"sort", sort, 0},         {"lock", lock, 0},
                              {"look_up", look_up, 0},   {"print", print, 0},
                              {"jump", jump, 0},         {"use_files", use_files, 0},
                              {"round_up", round_up, 0}, {"talk", talk, 0},
                              {"match", match, 0},       {"raise", raise_signals, 0}};

static int everyday(const char *args)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)args;
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    if (!run_sorts(sorts, sizeof sorts / sizeof sorts[0], EACH))
        return 2;
    EXPECT(atomic_load(&handled) == atomic_load(&raised));
    return atomic_load(&wrong) ? 1 : 0;
}
GR_ENTRY("everyday", everyday, "What C programs do all day");
