/*
 * strange_kernel.c: those sorts of strange.c that are about the kernel or about others: programs, threads, libraries, waiting for each
 * other, descriptors.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "strange.h"

/* ---- Programs, threads, libraries ---------------------------------------------------------------- */

void pipes_to_programs(unsigned *seed)
{
    char command[64], line[64] = "";
    unsigned long value = (unsigned long)rand_r(seed);
    snprintf(command, sizeof command, "echo %lu; exit 3", value);
    FILE *f = popen(command, "r");
    EXPECT(f && fgets(line, sizeof line, f) && strtoul(line, NULL, 10) == value);
    int status = f ? pclose(f) : 0;
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static bool exits_with(pid_t child, int code)
{
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == code;
}

void programs(unsigned *seed)
{
    char command[32], *argv[] = {"sh", "-c", command, NULL};
    int code = rand_r(seed) % 100;
    pid_t child = fork();
    if (child == 0)
        _exit(code);
    EXPECT(exits_with(child, code));
    snprintf(command, sizeof command, "exit %d", code);
    child = fork();
    if (child == 0) {
        execv("/bin/sh", argv);
        _exit(127);
    }
    EXPECT(exits_with(child, code));
    EXPECT(posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ) == 0);
    EXPECT(exits_with(child, code));
    EXPECT(WEXITSTATUS(system(command)) == code);
}

static void *square(void *arg)
{
    return (void *)((long)arg * (long)arg);
}

void threads(unsigned *seed)
{
    pthread_t thread[4];
    long value = rand_r(seed) % 1000;
    void *result;
    for (long i = 0; i < 4; i++)
        EXPECT(pthread_create(&thread[i], NULL, square, (void *)(value + i)) == 0);
    for (long i = 0; i < 4; i++) {
        EXPECT(pthread_join(thread[i], &result) == 0);
        EXPECT((long)result == (value + i) * (value + i));
    }
}

void libraries(unsigned *seed)
{
    void *library = dlopen("libm.so.6", RTLD_NOW);
    double (*cosine)(double) = library ? (double (*)(double))dlsym(library, "cos") : NULL;
    (void)seed;
    EXPECT(cosine && cosine(0) == 1);
    if (library)
        dlclose(library);
}

/* ---- Waiting for each other ---------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long items;

void conditions(unsigned *seed)
{
    struct timespec until;
    int error = 0;
    (void)seed;
    pthread_mutex_lock(&mutex);
    items++;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&mutex);
    while (items == 0 && error == 0)
        error = pthread_cond_timedwait(&cond, &mutex, &until);
    EXPECT(error == 0 || error == ETIMEDOUT);
    items -= items > 0;
    pthread_mutex_unlock(&mutex);
}

void kinds_of_mutex(unsigned *seed)
{
    pthread_mutex_t own;
    pthread_mutexattr_t attr;
    (void)seed;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&own, &attr);
    for (int i = 0; i < 10; i++)
        EXPECT(pthread_mutex_lock(&own) == 0);
    sched_yield();
    for (int i = 0; i < 10; i++)
        EXPECT(pthread_mutex_unlock(&own) == 0);
    EXPECT(pthread_mutex_unlock(&own) == EPERM);
    pthread_mutex_destroy(&own);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&own, &attr);
    EXPECT(pthread_mutex_lock(&own) == 0 && pthread_mutex_lock(&own) == EDEADLK);
    pthread_mutex_unlock(&own);
    pthread_mutex_destroy(&own);
}

struct meeting {
    pthread_barrier_t barrier;
    sem_t gone;
    _Atomic int came;
};

static void meet(void *arg)
{
    struct meeting *m = arg;
    atomic_fetch_add(&m->came, 1);
    pthread_barrier_wait(&m->barrier);
    EXPECT(atomic_load(&m->came) == 4);
    sem_post(&m->gone);
}

void barriers(unsigned *seed)
{
    struct meeting *m = calloc(1, sizeof *m);
    (void)seed;
    EXPECT(m && pthread_barrier_init(&m->barrier, NULL, 4) == 0 && sem_init(&m->gone, 0, 0) == 0);
    for (int i = 0; i < 3; i++)
        EXPECT(gr_go(meet, m));
    meet(m);
    for (int i = 0; i < 4;)
        i += sem_wait(&m->gone) == 0; /* also when we are cancelled */
    pthread_barrier_destroy(&m->barrier);
    sem_destroy(&m->gone);
    free(m);
}

static void send_numbers(void *arg)
{
    struct gr_chan *channel = arg;
    for (int i = 0; i < 200; i++)
        EXPECT(gr_chan_send(channel, &i) == 0);
    gr_chan_close(channel);
}

void channels(unsigned *seed)
{
    struct gr_chan *channel = gr_chan_create(sizeof(int), (size_t)rand_r(seed) % 4);
    int next = 0, value;
    EXPECT(channel && gr_go(send_numbers, channel));
    while (gr_chan_recv(channel, &value) == 0)
        EXPECT(value == next++);
    EXPECT(next == 200);
    gr_chan_destroy(channel);
}

/* ---- Descriptors --------------------------------------------------------------------------------- */

void event_sets(unsigned *seed)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), set = epoll_create1(EPOLL_CLOEXEC);
    int number = eventfd(0, EFD_CLOEXEC);
    struct itimerspec soon = {.it_value = {0, 1 + rand_r(seed) % 2000000}};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = timer}, came;
    struct pollfd one = {number, POLLIN, 0};
    uint64_t value;
    EXPECT(timerfd_settime(timer, 0, &soon, NULL) == 0);
    EXPECT(epoll_ctl(set, EPOLL_CTL_ADD, timer, &event) == 0);
    EXPECT(epoll_wait(set, &came, 1, -1) == 1 && came.data.fd == timer);
    EXPECT(read(timer, &value, sizeof value) == sizeof value && value >= 1);
    EXPECT(poll(&one, 1, 1) == 0);
    value = 5;
    EXPECT(write(number, &value, sizeof value) == sizeof value);
    EXPECT(poll(&one, 1, -1) == 1 && one.revents == POLLIN);
    EXPECT(read(number, &value, sizeof value) == sizeof value && value == 5);
    close(timer);
    close(set);
    close(number);
}

void selects(unsigned *seed)
{
    int end[2];
    fd_set set;
    struct timeval briefly = {0, 1000};
    (void)seed;
    EXPECT(pipe(end) == 0);
    FD_ZERO(&set);
    FD_SET(end[0], &set);
    EXPECT(select(end[0] + 1, &set, NULL, NULL, &briefly) == 0);
    EXPECT(write(end[1], "x", 1) == 1);
    FD_SET(end[0], &set);
    EXPECT(select(end[0] + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(end[0], &set));
    close(end[0]);
    close(end[1]);
}

/* A control message with room for one descriptor. */
union one_fd {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

void sent_descriptors(unsigned *seed)
{
    int way[2], end[2], fd = -1;
    union one_fd out = {0}, in = {0};
    char c = 'q', text[5] = "";
    struct iovec one = {&c, 1}, parts[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    (void)seed;
    EXPECT(socketpair(AF_UNIX, SOCK_DGRAM, 0, way) == 0 && pipe(end) == 0);
    out.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&out.header), &end[1], sizeof fd);
    message.msg_control = out.bytes;
    message.msg_controllen = sizeof out;
    EXPECT(sendmsg(way[0], &message, 0) == 1);
    message.msg_control = in.bytes;
    message.msg_controllen = sizeof in;
    EXPECT(recvmsg(way[1], &message, 0) == 1 && CMSG_FIRSTHDR(&message));
    memcpy(&fd, CMSG_DATA(&in.header), sizeof fd);
    EXPECT(writev(fd, parts, 2) == 4);
    EXPECT(read(end[0], text, 4) == 4 && strcmp(text, "abcd") == 0);
    for (int i = 0; i < 2; i++) {
        close(way[i]);
        close(end[i]);
    }
    close(fd);
}

struct caller {
    struct sockaddr_in to;
    unsigned value;
};

static void call(void *arg)
{
    struct caller caller = *(struct caller *)arg;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    unsigned got = 0;
    free(arg);
    EXPECT(connect(fd, (struct sockaddr *)&caller.to, sizeof caller.to) == 0);
    EXPECT(send(fd, &caller.value, sizeof got, 0) == sizeof got);
    EXPECT(recv(fd, &got, sizeof got, MSG_WAITALL) == sizeof got && got == ~caller.value);
    close(fd);
}

void accepted(unsigned *seed)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(bind(listener, (struct sockaddr *)&at, bytes) == 0 && listen(listener, 16) == 0);
    EXPECT(getsockname(listener, (struct sockaddr *)&at, &bytes) == 0);
    for (int i = 0; i < 4; i++) {
        struct caller *caller = malloc(sizeof *caller);
        *caller = (struct caller){at, (unsigned)rand_r(seed)};
        EXPECT(gr_go(call, caller));
    }
    for (int i = 0; i < 4; i++) {
        int fd = accept(listener, NULL, NULL);
        unsigned value;
        EXPECT(fd >= 0 && recv(fd, &value, sizeof value, MSG_WAITALL) == sizeof value);
        value = ~value;
        EXPECT(send(fd, &value, sizeof value, MSG_NOSIGNAL) == sizeof value);
        close(fd);
    }
    close(listener);
}
