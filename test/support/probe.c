// SPDX-License-Identifier: MIT
/*
 * A guest's workload, in small: answers on TCP and UDP ports and tries to reach others on command.
 *
 *   probe [tcp/PORT | udp/PORT]...          listens there, IPv4 and IPv6, and prints "ready"
 *
 * Commands on standard input, one a line, any number at a time:
 *   ID tcp ADDRESS PORT MILLISECONDS
 *   ID udp ADDRESS PORT MILLISECONDS
 *   ID ping ADDRESS MILLISECONDS
 *   ID listen tcp/PORT                      as on the command line
 * Answers on standard output, as they come:
 *   ID ok HOPLIMIT     tcp, udp: what our first packet's TTL was when it arrived (- if the server does not tell);
 *                      ping: the TTL of the reply
 *   ID timeout | ID refused | ID unreachable | ID error TEXT
 * Ends with its standard input, or with its parent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LISTENERS = 16, MAX_JOBS = 512, ECHO_SIZE = 56, REPLY_TEXT = 16 };

struct job {
    char id[32];
    int fd; /* -1: the slot is free */
    int ping, connecting, connected;
    int64_t deadline;
};

static struct job jobs[MAX_JOBS];
static struct {
    int fd, tcp;
} listeners[MAX_LISTENERS];
static int listener_count;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void fail(const char *what)
{
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on(int fd, int level, int option)
{
    int one = 1;
    if (setsockopt(fd, level, option, &one, sizeof(one)) != 0)
        fail("setsockopt");
}

/* False, with errno, when it cannot. */
static int listen_on(const char *what)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    int tcp = strncmp(what, "tcp/", 4) == 0;
    if ((!tcp && strncmp(what, "udp/", 4) != 0) || atoi(what + 4) <= 0 || listener_count == MAX_LISTENERS) {
        errno = EINVAL;
        return 0;
    }
    any.sin6_port = htons(atoi(what + 4));
    int fd = socket(AF_INET6, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        fail("socket");
    if (tcp) {
        on(fd, SOL_SOCKET, SO_REUSEADDR);
        on(fd, IPPROTO_TCP, TCP_SAVE_SYN);
    } else {
        on(fd, IPPROTO_IP, IP_RECVTTL);
        on(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
    }
    if (bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 || (tcp && listen(fd, 128) != 0)) {
        close(fd);
        return 0;
    }
    listeners[listener_count].fd = fd;
    listeners[listener_count++].tcp = tcp;
    return 1;
}

/* TCP_SAVED_SYN gives the SYN from its IP header on. */
static int hop_limit_of_syn(int fd)
{
    unsigned char syn[256];
    socklen_t length = sizeof(syn);
    if (getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &length) != 0 || length < 20)
        return -1;
    return syn[0] >> 4 == 4 ? syn[8] : syn[7];
}

/* Receives into `buffer` and finds the hop limit among the control messages, -1 if it is not there. */
static ssize_t receive(int fd, void *buffer, size_t size, struct sockaddr_in6 *from, int *hops)
{
    char control[128];
    struct iovec part = {buffer, size};
    struct msghdr message = {.msg_name = from,
                             .msg_namelen = sizeof(*from),
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
    *hops = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); length >= 0 && c; c = CMSG_NXTHDR(&message, c)) {
        if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
            (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
            memcpy(hops, CMSG_DATA(c), sizeof(*hops));
    }
    return length;
}

static void serve(int fd, int tcp)
{
    char text[REPLY_TEXT], data[2048];
    int hops;
    struct sockaddr_in6 from;
    if (tcp) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            return;
        int length = snprintf(text, sizeof(text), "%d\n", hop_limit_of_syn(client));
        if (send(client, text, length, MSG_NOSIGNAL) != length)
            fprintf(stderr, "probe: a client left early\n");
        close(client);
    } else if (receive(fd, data, sizeof(data), &from, &hops) >= 0) {
        int length = snprintf(text, sizeof(text), "%d\n", hops);
        sendto(fd, text, length, 0, (struct sockaddr *)&from, sizeof(from));
    }
}

static void finish(struct job *job, const char *result)
{
    printf("%s %s\n", job->id, result);
    if (job->fd >= 0)
        close(job->fd);
    job->fd = -1;
}

static void finish_error(struct job *job, int error)
{
    char text[160];
    if (error == ECONNREFUSED)
        finish(job, "refused");
    else if (error == ETIMEDOUT)
        finish(job, "timeout");
    else if (error == EHOSTUNREACH || error == ENETUNREACH || error == EACCES || error == EPERM)
        finish(job, "unreachable");
    else {
        snprintf(text, sizeof(text), "error %s", strerror(error));
        finish(job, text);
    }
}

static void finish_ok(struct job *job, int hops)
{
    char text[32];
    if (hops < 0)
        finish(job, "ok -");
    else {
        snprintf(text, sizeof(text), "ok %d", hops);
        finish(job, text);
    }
}

/* ICMP and ICMPv6 echo have the same layout; the kernel fills in ICMPv6's checksum. Sequence number: the job's. */
static void send_echo(struct job *job, const struct sockaddr *to, socklen_t size, int v6)
{
    uint8_t echo[ECHO_SIZE] = {v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO};
    uint16_t words[3] = {0, htons(getpid() & 0xffff), htons(job - jobs)};
    memcpy(echo + 2, words, sizeof(words));
    if (!v6) {
        uint32_t sum = 0;
        for (int i = 0; i < ECHO_SIZE; i += 2)
            sum += echo[i] << 8 | echo[i + 1];
        sum = (sum & 0xffff) + (sum >> 16);
        sum += sum >> 16;
        words[0] = htons(~sum);
        memcpy(echo + 2, words, 2);
    }
    if (connect(job->fd, to, size) != 0 || send(job->fd, echo, sizeof(echo), 0) < 0)
        finish_error(job, errno);
}

static void start(char *line)
{
    char id[32], kind[8], address[64], third[16], fourth[16];
    int words = sscanf(line, "%31s %7s %63s %15s %15s", id, kind, address, third, fourth), slot = 0;
    int ping = words == 4 && strcmp(kind, "ping") == 0, tcp = words == 5 && strcmp(kind, "tcp") == 0;
    int v6 = strchr(address, ':') != NULL, wait = ping ? atoi(third) : atoi(fourth), port = ping ? 0 : atoi(third);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr *to = v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t size = v6 ? sizeof(six) : sizeof(four);
    void *raw = v6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr;

    if (words == 3 && strcmp(kind, "listen") == 0) {
        if (listen_on(address))
            printf("%s ok -\n", id);
        else
            printf("%s error %s\n", id, strerror(errno));
        return;
    }
    while (slot < MAX_JOBS && jobs[slot].fd >= 0)
        slot++;
    if (slot == MAX_JOBS || !(ping || (words == 5 && (tcp || strcmp(kind, "udp") == 0))) ||
        inet_pton(v6 ? AF_INET6 : AF_INET, address, raw) != 1) {
        printf("%s error %s\n", words > 0 ? id : "?",
               slot == MAX_JOBS ? "too many at a time" : "cannot read the command");
        return;
    }
    struct job *job = &jobs[slot];
    *job = (struct job){.ping = ping, .connecting = tcp, .deadline = now() + wait};
    strcpy(job->id, id);
    int type = ping ? SOCK_RAW : tcp ? SOCK_STREAM : SOCK_DGRAM;
    job->fd =
        socket(to->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, ping ? (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) : 0);
    if (job->fd < 0) {
        finish_error(job, errno);
    } else if (ping) {
        on(job->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL);
        send_echo(job, to, size, v6);
    } else if (connect(job->fd, to, size) != 0 && errno != EINPROGRESS) {
        finish_error(job, errno);
    } else if (!tcp && send(job->fd, "?\n", 2, 0) < 0) {
        finish_error(job, errno);
    }
}

static void on_reply(struct job *job)
{
    uint8_t data[2048];
    struct sockaddr_in6 from;
    int hops;
    ssize_t length = receive(job->fd, data, sizeof(data) - 1, &from, &hops);
    if (length < 0 && errno != EAGAIN) {
        finish_error(job, errno);
    } else if (length >= 0 && !job->ping) {
        data[length] = 0;
        finish_ok(job, length > 0 ? atoi((char *)data) : -1);
    } else if (length > 0) {
        /* A raw IPv4 socket gives the IP header too, and every ICMP message of this peer. */
        const uint8_t *echo = data;
        uint16_t words[2];
        if (data[0] >> 4 == 4 && length >= 20)
            echo += (data[0] & 15) * 4;
        memcpy(words, echo + 4, sizeof(words));
        if (echo + 8 <= data + length && (echo[0] == ICMP_ECHOREPLY || echo[0] == ICMPV6_ECHO_REPLY) &&
            words[0] == htons(getpid() & 0xffff) && words[1] == htons(job - jobs))
            finish_ok(job, hops);
    }
}

static void on_ready(struct job *job, short events)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (job->connecting && (events & (POLLOUT | POLLERR | POLLHUP))) {
        getsockopt(job->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            return finish_error(job, error);
        job->connecting = 0;
        job->connected = 1;
    } else {
        on_reply(job);
    }
}

/* Fills the poll set; returns its size and the milliseconds to the next deadline. */
static int gather(struct pollfd *set, struct job **of, int *wait)
{
    int count = 0;
    int64_t time = now(), next = -1;
    set[count++] = (struct pollfd){.fd = 0, .events = POLLIN};
    for (int i = 0; i < listener_count; i++)
        set[count++] = (struct pollfd){.fd = listeners[i].fd, .events = POLLIN};
    for (struct job *job = jobs; job < jobs + MAX_JOBS; job++) {
        if (job->fd >= 0 && job->deadline <= time) {
            if (job->connected)
                finish_ok(job, -1);
            else
                finish(job, "timeout");
        }
        if (job->fd < 0)
            continue;
        if (next < 0 || job->deadline < next)
            next = job->deadline;
        of[count] = job;
        set[count++] = (struct pollfd){.fd = job->fd, .events = job->connecting ? POLLOUT : POLLIN};
    }
    *wait = next < 0 ? -1 : (int)(next - time);
    return count;
}

/* Takes whole lines from standard input; false at its end. */
static int commands(void)
{
    static char text[1 << 16];
    static size_t used;
    ssize_t length = read(0, text + used, sizeof(text) - 1 - used);
    if (length <= 0)
        return 0;
    used += length;
    text[used] = 0;
    char *line = text, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        start(line);
    }
    used -= line - text;
    memmove(text, line, used);
    return used < sizeof(text) - 1;
}

int main(int argc, char **argv)
{
    static struct pollfd set[1 + MAX_LISTENERS + MAX_JOBS];
    static struct job *of[1 + MAX_LISTENERS + MAX_JOBS];
    pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < MAX_JOBS; i++)
        jobs[i].fd = -1;
    for (int i = 1; i < argc; i++)
        if (!listen_on(argv[i]))
            fail(argv[i]);
    puts("ready");
    for (;;) {
        int wait, polled = listener_count, count = gather(set, of, &wait);
        if (poll(set, count, wait) < 0 && errno != EINTR)
            fail("poll");
        for (int i = 1 + polled; i < count; i++)
            if (set[i].revents)
                on_ready(of[i], set[i].revents);
        for (int i = 1; i < 1 + polled; i++)
            if (set[i].revents)
                serve(set[i].fd, listeners[i - 1].tcp);
        if (set[0].revents && !commands())
            return 0;
    }
}
