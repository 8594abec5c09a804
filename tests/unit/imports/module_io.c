/*
 * module_io.c: descriptors, sockets and waiting, as plain C in goroutines.
 */
#include "module_test.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BULK (1 << 20)

/* ---- Pipes and sockets ----------------------------------------------------------------------- */

static void write_bulk(void *arg)
{
    struct helper *helper = arg;
    char *bytes = malloc(BULK);

    for (int i = 0; i < BULK; i++)
        bytes[i] = (char)(i * 7);
    helper->result = write(helper->fd[1], bytes, BULK) == BULK ? 0 : -1;
    close(helper->fd[1]);
    free(bytes);
    gr_waitgroup_done(&helper->done);
}

/* Reads to the end in odd pieces; true if everything came in order. */
static bool read_bulk(int fd)
{
    char piece[777];
    size_t total = 0;
    ssize_t got;

    while ((got = read(fd, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] != (char)((total + (size_t)i) * 7))
                return false;
        }
        total += (size_t)got;
        if (total % 5 == 0)
            gr_yield();
    }
    return got == 0 && total == BULK;
}

static int bulk_through(struct helper *helper)
{
    gr_waitgroup_add(&helper->done, 1);
    CHECK(gr_go(write_bulk, helper) != 0);
    CHECK(read_bulk(helper->fd[0]));
    CHECK(gr_waitgroup_wait(&helper->done) == 0);
    CHECK(helper->result == 0);
    close(helper->fd[0]);
    return 0;
}

static int bulk_pipe(const char *args)
{
    struct helper helper = {0};

    (void)args;
    CHECK(pipe(helper.fd) == 0);
    return bulk_through(&helper);
}
GR_ENTRY("bulk_pipe", bulk_pipe, "a megabyte through a pipe, one write");

static int bulk_socket(const char *args)
{
    struct helper helper = {0};

    (void)args;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, helper.fd) == 0);
    return bulk_through(&helper);
}
GR_ENTRY("bulk_socket", bulk_socket, "a megabyte through a socket pair, one write");

static int nonblocking_stays(const char *args)
{
    char buf[8];
    int fd[2];

    (void)args;
    CHECK(pipe2(fd, O_NONBLOCK) == 0);
    CHECK(read(fd[0], buf, sizeof buf) == -1 && errno == EAGAIN);
    CHECK(write(fd[1], "x", 1) == 1);
    CHECK(read(fd[0], buf, sizeof buf) == 1);
    close(fd[0]);
    close(fd[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
    CHECK(recv(fd[0], buf, sizeof buf, 0) == -1 && errno == EAGAIN);
    CHECK(read(fd[0], buf, sizeof buf) == -1 && errno == EAGAIN);
    close(fd[0]);
    close(fd[1]);
    CHECK(read(fd[0], buf, sizeof buf) == -1 && errno == EBADF);
    return 0;
}
GR_ENTRY("nonblocking_stays", nonblocking_stays, "O_NONBLOCK keeps its meaning");

static int receive_timeout(const char *args)
{
    struct timeval timeout = {0, 20000};
    uint64_t start;
    char buf[8];
    int fd[2];

    (void)args;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    CHECK(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0);
    start = now_ns();
    CHECK(recv(fd[0], buf, sizeof buf, 0) == -1 && errno == EAGAIN);
    CHECK(now_ns() - start >= 20000000);
    close(fd[0]);
    close(fd[1]);
    return 0;
}
GR_ENTRY("receive_timeout", receive_timeout, "SO_RCVTIMEO keeps its meaning");

/* The queue of a listener with backlog 0 is soon full; then the kernel drops what asks for a connection. */
static int connect_timeout(const char *args)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {0, 20000};
    socklen_t bytes = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd[5];

    (void)args;
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 0) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &bytes) == 0);
    for (int i = 0; i < 4; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(connect(fd[i], (struct sockaddr *)&at, sizeof at) == 0 || errno == EINPROGRESS);
    }
    fd[4] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(setsockopt(fd[4], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) == 0);
    CHECK(connect(fd[4], (struct sockaddr *)&at, sizeof at) == -1 && errno == EINPROGRESS);
    /* A second call waits, too. */
    uint64_t before = now_ns();
    CHECK(connect(fd[4], (struct sockaddr *)&at, sizeof at) == -1 && errno == EALREADY);
    CHECK(now_ns() - before >= 20000000);
    for (int i = 0; i < 5; i++)
        close(fd[i]);
    close(listener);
    return 0;
}
GR_ENTRY("connect_timeout", connect_timeout, "SO_SNDTIMEO ends a connect, too");

static void serve_one(void *arg)
{
    struct helper *helper = arg;
    char buf[64];
    ssize_t got;
    int fd = accept(helper->fd[0], NULL, NULL);

    helper->result = -1;
    if (fd >= 0) {
        while ((got = recv(fd, buf, sizeof buf, 0)) > 0)
            send(fd, buf, (size_t)got, 0);
        helper->result = got == 0 ? 0 : errno;
        close(fd);
    }
    gr_waitgroup_done(&helper->done);
}

static int tcp_echo(const char *args)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof at;
    struct helper helper = {0};
    char buf[64];
    int fd;

    (void)args;
    helper.fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(helper.fd[0] >= 0);
    CHECK(bind(helper.fd[0], (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(listen(helper.fd[0], 4) == 0);
    CHECK(getsockname(helper.fd[0], (struct sockaddr *)&at, &bytes) == 0);
    gr_waitgroup_add(&helper.done, 1);
    CHECK(gr_go(serve_one, &helper) != 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    for (int i = 0; i < 100; i++) {
        CHECK(send(fd, "twelve bytes", 12, 0) == 12);
        CHECK(recv(fd, buf, 12, MSG_WAITALL) == 12);
        CHECK(memcmp(buf, "twelve bytes", 12) == 0);
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK(gr_waitgroup_wait(&helper.done) == 0);
    CHECK(helper.result == 0);
    close(fd);
    close(helper.fd[0]);
    return 0;
}
GR_ENTRY("tcp_echo", tcp_echo, "accept, connect, send, recv");

static int connect_refused(const char *args)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

    (void)args;
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &bytes) == 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == ECONNREFUSED);
    close(fd);
    close(listener);
    return 0;
}
GR_ENTRY("connect_refused", connect_refused, "connect tells its error");

/* ---- Waiting is never cut short -------------------------------------------------------------- */

#define WAIT_NS 30000000u

/* Until a moment of each clock, and until one that has passed. */
static int absolute_sleeps_end(const char *args)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI};
    struct timespec until, now, past = {0, 1}, wrong = {1, 1000000000};

    (void)args;
    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        CHECK(clock_gettime(clocks[i], &until) == 0);
        until.tv_sec += (until.tv_nsec + WAIT_NS) / 1000000000;
        until.tv_nsec = (until.tv_nsec + WAIT_NS) % 1000000000;
        CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL) == 0);
        CHECK(clock_gettime(clocks[i], &now) == 0);
        CHECK(now.tv_sec > until.tv_sec ||
              (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
        CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL) == 0);
        CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &past, NULL) == 0);
        CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &wrong, NULL) == EINVAL);
    }
    return 0;
}
GR_ENTRY("absolute_sleeps_end", absolute_sleeps_end, "clock_nanosleep until a moment returns then")

static int waits_are_whole(const char *args)
{
    struct timespec time = {0, WAIT_NS}, until;
    struct epoll_event event = {.events = EPOLLIN};
    struct timeval timeout = {0, WAIT_NS / 1000};
    struct pollfd fds[2];
    uint64_t start;
    fd_set set;
    sem_t sem;
    int fd[2], epoll;

    (void)args;
    CHECK(pipe(fd) == 0);
    start = now_ns();
    CHECK(nanosleep(&time, NULL) == 0 && now_ns() - start >= WAIT_NS);
    start = now_ns();
    CHECK(usleep(WAIT_NS / 1000) == 0 && now_ns() - start >= WAIT_NS);
    start = now_ns();
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL) == 0 && now_ns() - start >= WAIT_NS);
    fds[0] = fds[1] = (struct pollfd){.fd = fd[0], .events = POLLIN};
    start = now_ns();
    CHECK(poll(fds, 1, WAIT_NS / 1000000) == 0 && now_ns() - start >= WAIT_NS);
    start = now_ns();
    CHECK(poll(fds, 2, WAIT_NS / 1000000) == 0 && now_ns() - start >= WAIT_NS);
    start = now_ns();
    CHECK(ppoll(fds, 1, &time, NULL) == 0 && now_ns() - start >= WAIT_NS);
    FD_ZERO(&set);
    FD_SET(fd[0], &set);
    start = now_ns();
    CHECK(select(fd[0] + 1, &set, NULL, NULL, &timeout) == 0 && now_ns() - start >= WAIT_NS);
    CHECK(!FD_ISSET(fd[0], &set) && timeout.tv_sec == 0 && timeout.tv_usec == 0);
    epoll = epoll_create1(0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd[0], &event) == 0);
    start = now_ns();
    CHECK(epoll_wait(epoll, &event, 1, WAIT_NS / 1000000) == 0 && now_ns() - start >= WAIT_NS);
    CHECK(sem_init(&sem, 0, 0) == 0);
    start = now_ns(); /* first: whatever passes before the other clock is read makes the wait longer */
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    CHECK(sem_timedwait(&sem, &until) == -1 && errno == ETIMEDOUT);
    CHECK(now_ns() - start >= WAIT_NS - 1000000);
    close(fd[0]);
    close(fd[1]);
    close(epoll);
    return 0;
}
GR_ENTRY("waits_are_whole", waits_are_whole, "no wait returns early");

static void poke(void *arg)
{
    struct helper *helper = arg;

    usleep(2000);
    helper->result = write(helper->fd[1], "x", 1) == 1 ? 0 : errno;
    gr_waitgroup_done(&helper->done);
}

static int readiness_wakes(const char *args)
{
    struct helper helper = {0};
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd fds[2];
    fd_set set;
    char c;
    int epoll;

    (void)args;
    CHECK(pipe(helper.fd) == 0);
    epoll = epoll_create1(0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, helper.fd[0], &event) == 0);
    for (int kind = 0; kind < 4; kind++) {
        gr_waitgroup_add(&helper.done, 1);
        CHECK(gr_go(poke, &helper) != 0);
        fds[0] = fds[1] = (struct pollfd){.fd = helper.fd[0], .events = POLLIN};
        FD_ZERO(&set);
        FD_SET(helper.fd[0], &set);
        if (kind == 0)
            CHECK(poll(fds, 1, -1) == 1 && fds[0].revents == POLLIN);
        if (kind == 1)
            CHECK(poll(fds, 2, 10000) == 2);
        if (kind == 2)
            CHECK(select(helper.fd[0] + 1, &set, NULL, NULL, NULL) == 1 &&
                  FD_ISSET(helper.fd[0], &set));
        if (kind == 3)
            CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
        CHECK(read(helper.fd[0], &c, 1) == 1);
        CHECK(gr_waitgroup_wait(&helper.done) == 0 && helper.result == 0);
    }
    close(epoll);
    close(helper.fd[0]);
    close(helper.fd[1]);
    return 0;
}
GR_ENTRY("readiness_wakes", readiness_wakes, "poll, select and epoll_wait return when ready");

struct far {
    struct helper helper;
    sem_t sem;
};

static void post_and_poke(void *arg)
{
    struct far *far = arg;

    usleep(2000);
    sem_post(&far->sem);
    poke(&far->helper);
}

/* Nanoseconds of these are more than 64 bits hold: a multiple of 2^64, by which the time was over at once. */
static int far_deadlines_wait(const char *args)
{
    struct timespec until = {(time_t)1 << 62, 0};
    struct timeval timeout = {(time_t)1 << 55, 0};
    struct far far = {0};
    char c;

    (void)args;
    CHECK(sem_init(&far.sem, 0, 0) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, far.helper.fd) == 0);
    CHECK(setsockopt(far.helper.fd[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0);
    gr_waitgroup_add(&far.helper.done, 1);
    CHECK(gr_go(post_and_poke, &far) != 0);
    CHECK(sem_timedwait(&far.sem, &until) == 0);
    CHECK(recv(far.helper.fd[0], &c, 1, 0) == 1);
    CHECK(gr_waitgroup_wait(&far.helper.done) == 0 && far.helper.result == 0);
    close(far.helper.fd[0]);
    close(far.helper.fd[1]);
    return 0;
}
GR_ENTRY("far_deadlines_wait", far_deadlines_wait, "a time-out of centuries is none of nothing");

/* ---- Pointers to functions ------------------------------------------------------------------- */

static const struct {
    ssize_t (*read)(int, void *, size_t);
    void *(*malloc)(size_t);
    int (*usleep)(useconds_t);
} ops = {read, malloc, usleep};

static int pointers_are_redirected(const char *args)
{
    ssize_t (*volatile direct)(int, void *, size_t) = read;
    int (*found)(useconds_t) = (int (*)(useconds_t))dlsym(RTLD_DEFAULT, "usleep");
    uint64_t start = now_ns();

    (void)args;
    CHECK(ops.read == direct);
    CHECK(found == ops.usleep);
    CHECK(ops.usleep(5000) == 0 && now_ns() - start >= 5000000);
    free(ops.malloc(10));
    CHECK(dlsym(RTLD_DEFAULT, "pthread_exit") == NULL);
    CHECK(dlsym(RTLD_DEFAULT, "stdout") == &stdout);
    return 0;
}
GR_ENTRY("pointers_are_redirected", pointers_are_redirected, "static tables and dlsym give stubs");

/* By name or by a name that ends so, as __read does; libc picks one of several. */
static bool is_called(const Dl_info *info, const char *name)
{
    const char *found = info->dli_sname ? strstr(info->dli_sname, name) : NULL;

    return found && found[strlen(name)] == 0;
}

static int addresses_have_names(const char *args)
{
    void *const functions[] = {(void *)malloc, (void *)read, (void *)qsort};
    static const char *const names[] = {"malloc", "read", "qsort"};
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    (void)args;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        CHECK(dladdr(functions[i], &info) != 0 && info.dli_saddr == functions[i]);
        CHECK(is_called(&info, names[i]) && strstr(info.dli_fname, "libc.so"));
        CHECK(dladdr1(functions[i], &info, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol);
        CHECK(is_called(&info, names[i]) && ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT);
    }
    CHECK(dladdr((void *)addresses_have_names, &info) != 0 && strstr(info.dli_fname, "test_wraps"));
    CHECK(dladdr(&info, &info) == 0);
    return 0;
}
GR_ENTRY("addresses_have_names", addresses_have_names, "dladdr knows what an import is")

/* ---- Cancellation ---------------------------------------------------------------------------- */

/* Once cancelled, what need not block still works. Runs after the caller saw ECANCELED. */
static int calls_that_need_not_block_work(void)
{
    char buf[8];
    int fd[2], file;

    CHECK(gr_cancelled());
    CHECK(pipe(fd) == 0);
    CHECK(write(fd[1], "abc", 3) == 3);
    CHECK(read(fd[0], buf, sizeof buf) == 3);
    CHECK(read(fd[0], buf, 1) == -1 && errno == ECANCELED);
    close(fd[0]);
    close(fd[1]);
    file = open("/proc/self/cmdline", O_RDONLY);
    CHECK(file >= 0 && read(file, buf, sizeof buf) > 0);
    close(file);
    CHECK(usleep(1000) == -1 && errno == ECANCELED);
    return 0;
}

int blocked_sync(const char *kind);

/* Blocks in the call that `args` names ("\"read\""), until it is cancelled. */
static int block(const char *args)
{
    struct pollfd fds[2];
    char kind[32], buf[8];
    int fd[2], result = -2;

    snprintf(kind, sizeof kind, "%.*s", (int)strlen(args) - 2, args + 1);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    fds[0] = fds[1] = (struct pollfd){.fd = fd[0], .events = POLLIN};
    errno = 0;
    if (!strcmp(kind, "recv"))
        result = (int)recv(fd[0], buf, 1, 0);
    else if (!strcmp(kind, "read_socket"))
        result = (int)read(fd[0], buf, 1);
    else if (!strcmp(kind, "poll_one"))
        result = poll(fds, 1, -1);
    else if (!strcmp(kind, "poll_two"))
        result = poll(fds, 2, -1);
    else if (!strcmp(kind, "select"))
        result = select(0, NULL, NULL, NULL, NULL);
    else if (!strcmp(kind, "sleep"))
        result = sleep(1000) > 900 ? -1 : 0;
    else if (!strcmp(kind, "epoll_wait")) {
        struct epoll_event event;
        int epoll = epoll_create1(0);

        result = epoll_wait(epoll, &event, 1, -1);
        close(epoll);
    } else if (!strcmp(kind, "accept")) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);

        CHECK(listen(listener, 1) == 0);
        errno = 0;
        result = accept(listener, NULL, NULL);
        close(listener);
    } else if (!strcmp(kind, "read_pipe")) {
        int pipes[2];

        CHECK(pipe(pipes) == 0);
        result = (int)read(pipes[0], buf, 1);
        close(pipes[0]);
        close(pipes[1]);
    } else if (!strcmp(kind, "flock")) {
        FILE *file = tmpfile();
        char path[64];
        int again;

        snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
        again = open(path, O_RDWR);
        CHECK(flock(fileno(file), LOCK_EX) == 0);
        result = flock(again, LOCK_EX);
        CHECK(result == -1 && errno == ECANCELED);
        close(again);
        fclose(file);
        errno = ECANCELED;
    } else if (!strcmp(kind, "vmsplice")) {
        static char page[65536];
        struct iovec piece = {page, sizeof page};
        int pipes[2];

        CHECK(pipe(pipes) == 0);
        while ((result = (int)vmsplice(pipes[1], &piece, 1, 0)) > 0)
            ;
        close(pipes[0]);
        close(pipes[1]);
    } else {
        result = blocked_sync(kind);
    }
    CHECK(result == -1);
    CHECK(errno == ECANCELED);
    close(fd[0]);
    close(fd[1]);
    return calls_that_need_not_block_work();
}
GR_ENTRY("block", block, "blocks in the named call until cancelled");
