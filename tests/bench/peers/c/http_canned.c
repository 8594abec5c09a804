/*
 * http_canned.c: a ceiling for HTTP on this machine.
 *
 * One thread, epoll, no parser (a request ends at an empty line), one ready-made keep-alive answer
 * for each. With a number as argument it also starts so many threads that spin, as goroutines do
 * behind the daemon's own loop; they run at the nice value of the second argument. Prints its port,
 * then serves.
 */
#include "../../sample.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: 11\r\n\r\n{\"ok\":true}";

static void *spinner(void *arg)
{
    volatile uint64_t x = 1;

    /* On Linux a nice value belongs to the thread. */
    if (setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), (int)(intptr_t)arg) != 0)
        perror("setpriority");
    for (;;)
        x = x * 3 + 1;
    return NULL;
}

static void accept_one(int epoll_fd, int listener)
{
    int one = 1, fd = accept(listener, NULL, NULL);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void answer_one(int fd)
{
    char bytes[4096];
    ssize_t got = read(fd, bytes, sizeof bytes);

    if (got <= 0) {
        close(fd);
        return;
    }
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + got - at), "\r\n\r\n", 4)); at += 4)
        if (write(fd, answer, sizeof answer - 1) < 0)
            return;
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (void *)&address, length) || listen(fd, 512) ||
        getsockname(fd, (void *)&address, &length)) {
        perror("listen");
        exit(1);
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    int listener = listen_anywhere(), epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[128];

    for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--) {
        pthread_t thread;

        pthread_create(&thread, NULL, spinner, (void *)(intptr_t)(argc > 2 ? atoi(argv[2]) : 0));
    }
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 128, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_one(epoll_fd, listener);
            else
                answer_one(events[i].data.fd);
        }
    }
}
