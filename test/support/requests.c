// SPDX-License-Identifier: MIT
/*
 * TCP between two guests, for benchmarks:
 *
 *   requests serve PORT                 prints "ready"; answers every read that begins with q with one byte, swallows
 * the rest requests connect ADDRESS PORT N     N connections, 16 at a time: connect, a byte, its answer, close requests
 * ask ADDRESS PORT N         N bytes on one connection, each sent when the one before was answered requests bulk
 * ADDRESS PORT N        N MiB on one connection, until the other end has read them all
 *
 * Clients print nanoseconds for one of the N, and how many of them the client itself was on a processor. IPv4 only. A
 * server ends with its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 16, PATIENCE = 10000 };

static char buffer[1 << 20];

static void fail(const char *what)
{
    fprintf(stderr, "requests: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int tcp_socket(int flags)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), one = 1;

    if (fd < 0)
        fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void watch(int poll, int fd, unsigned int events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static int listener(int poll, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = tcp_socket(SOCK_NONBLOCK), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1024))
        fail("listen");
    watch(poll, fd, EPOLLIN);
    return fd;
}

static void serve(int port)
{
    struct epoll_event events[64];
    int poll = epoll_create1(EPOLL_CLOEXEC), answering = listener(poll, port);

    watch(poll, STDIN_FILENO, EPOLLIN);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, events, 64, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t length;

            if (fd == STDIN_FILENO)
                exit(0);
            if (fd == answering) {
                int one = 1, end = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (end < 0)
                    continue;
                setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                watch(poll, end, EPOLLIN);
                continue;
            }
            length = read(fd, buffer, sizeof(buffer));
            if (length < 0 && (errno == EAGAIN || errno == EINTR))
                continue;
            if (length <= 0 || (buffer[0] == 'q' && write(fd, buffer, 1) != 1))
                close(fd);
        }
    }
}

static void start(int poll, const struct sockaddr_in *to)
{
    int fd = tcp_socket(SOCK_NONBLOCK);

    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) && errno != EINPROGRESS)
        fail("connect");
    watch(poll, fd, EPOLLOUT | EPOLLONESHOT);
}

static void connections(const struct sockaddr_in *to, long wanted)
{
    int poll = epoll_create1(EPOLL_CLOEXEC);
    long started = 0, done = 0;
    struct epoll_event events[AT_ONCE];

    for (; started < wanted && started < AT_ONCE; started++)
        start(poll, to);
    while (done < wanted) {
        int count = epoll_wait(poll, events, AT_ONCE, PATIENCE);

        if (count == 0)
            errno = ETIMEDOUT;
        if (count == 0 || (count < 0 && errno != EINTR))
            fail("waiting for connections");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd, error = 0;
            struct epoll_event next = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
            socklen_t size = sizeof(error);

            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) {
                errno = error;
                fail("a connection");
            }
            if (events[i].events & EPOLLOUT) {
                if (write(fd, "q", 1) != 1)
                    fail("write");
                epoll_ctl(poll, EPOLL_CTL_MOD, fd, &next);
                continue;
            }
            if (read(fd, buffer, 1) != 1)
                fail("no answer");
            close(fd);
            done++;
            if (started < wanted) {
                started++;
                start(poll, to);
            }
        }
    }
}

static int blocking(const struct sockaddr_in *to)
{
    struct timeval patience = {.tv_sec = PATIENCE / 1000};
    int fd = tcp_socket(0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)))
        fail("connect");
    return fd;
}

static void ask(int fd, long wanted)
{
    for (long i = 0; i < wanted; i++)
        if (write(fd, "q", 1) != 1 || read(fd, buffer, 1) != 1)
            fail("no answer");
}

static void bulk(int fd, long wanted)
{
    for (long long left = (long long)wanted << 20; left > 0;) {
        ssize_t length = write(fd, buffer, left < (long long)sizeof(buffer) ? (size_t)left : sizeof(buffer));

        if (length <= 0)
            fail("write");
        left -= length;
    }
    shutdown(fd, SHUT_WR);
    if (read(fd, buffer, 1) != 0) /* it closes when it has read all */
        fail("not everything was read");
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    long long began, used;
    long wanted;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve"))
        serve(atoi(argv[2]));
    if (argc != 5 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || (wanted = atol(argv[4])) < 1) {
        fprintf(stderr, "usage: requests serve PORT | requests connect|ask|bulk ADDRESS PORT N\n");
        return 2;
    }
    to.sin_port = htons(atoi(argv[3]));
    memset(buffer, '.', sizeof(buffer));
    began = now(CLOCK_MONOTONIC);
    used = now(CLOCK_PROCESS_CPUTIME_ID);
    if (!strcmp(argv[1], "connect"))
        connections(&to, wanted);
    else if (!strcmp(argv[1], "ask"))
        ask(blocking(&to), wanted);
    else
        bulk(blocking(&to), wanted);
    used = now(CLOCK_PROCESS_CPUTIME_ID) - used;
    printf("%lld %lld\n", (now(CLOCK_MONOTONIC) - began) / wanted, used / wanted);
    return 0;
}
