// SPDX-License-Identifier: MIT
/*
 * Many taps in one hand, and the host's own sending, for tests that ask where each frame went. A line at a time:
 *
 *   frames [QUIET_MS]
 *
 *   tap NAME MAC MTU   makes the tap, or changes it; answers "ok"
 *   gone NAME          removes it; "ok"
 *   send NAME HEX      the frame comes out of whoever is behind the tap
 *   host NAME HEX      the host itself sends this IP packet, by way of the interface
 *   frame NAME HEX     the host itself sends this frame, past its IP
 *
 * The last three answer every frame that was handed to any tap until nothing came for a moment, as "NAME HEX", then
 * "done", or "error TEXT". Ends with its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_TAPS = 64, MAX_FRAME = 1 << 17 };

/* How long nothing must come; the first argument, if there is one. What the host forwards comes before a write returns.
 */
static int quiet_ms = 4;

static struct {
    char name[IFNAMSIZ];
    int fd;
} taps[MAX_TAPS];
static int count;
static unsigned char frame[MAX_FRAME];
static char line[2 * MAX_FRAME + 64];

static int control(void)
{
    static int fd;

    return fd ? fd : (fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int find(const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(taps[i].name, name))
            return i;
    return -1;
}

static int make(const char *name, const char *mac, int mtu)
{
    struct ifreq request = {0};
    unsigned int octets[6];
    int i = find(name);

    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (i < 0) {
        if (count == MAX_TAPS)
            return errno = ENFILE, -1;
        i = count++;
        taps[i].fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        snprintf(taps[i].name, IFNAMSIZ, "%s", name);
        request.ifr_flags = IFF_TAP | IFF_NO_PI;
        if (taps[i].fd < 0 || ioctl(taps[i].fd, TUNSETIFF, &request))
            return -1;
    }
    if (sscanf(mac, "%x:%x:%x:%x:%x:%x", octets, octets + 1, octets + 2, octets + 3, octets + 4, octets + 5) != 6)
        return errno = EINVAL, -1;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    for (int o = 0; o < 6; o++)
        request.ifr_hwaddr.sa_data[o] = (char)octets[o];
    if (ioctl(control(), SIOCSIFHWADDR, &request))
        return -1;
    request.ifr_mtu = mtu;
    if (ioctl(control(), SIOCSIFMTU, &request))
        return -1;
    if (ioctl(control(), SIOCGIFFLAGS, &request))
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(control(), SIOCSIFFLAGS, &request);
}

static int gone(const char *name)
{
    int i = find(name);

    if (i < 0)
        return errno = ENODEV, -1;
    close(taps[i].fd);
    taps[i] = taps[--count];
    return 0;
}

static int bytes(const char *hex)
{
    int length = 0;

    for (; hex[0] && hex[1] && length < MAX_FRAME; hex += 2)
        if (sscanf(hex, "%2hhx", &frame[length++]) != 1)
            break;
    return length;
}

static int put(const char *name, int length)
{
    int i = find(name);

    return i < 0 ? (errno = ENODEV, -1) : (int)write(taps[i].fd, frame, length);
}

static int host(const char *name, int length)
{
    int one = 1, v4 = frame[0] >> 4 == 4, fd = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW),
        result;
    struct sockaddr_in to4 = {.sin_family = AF_INET};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};

    if (fd < 0)
        return -1;
    if (v4)
        memcpy(&to4.sin_addr, frame + 16, 4);
    else
        memcpy(&to6.sin6_addr, frame + 24, 16);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
    result = setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name) + 1);
    if (!result)
        result = (int)sendto(fd, frame, length, 0, v4 ? (void *)&to4 : (void *)&to6, v4 ? sizeof to4 : sizeof to6);
    close(fd);
    return result;
}

static int past_ip(const char *name, int length)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name), .sll_halen = 6};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), result;

    if (fd < 0)
        return -1;
    memcpy(to.sll_addr, frame, 6);
    result = (int)sendto(fd, frame, length, 0, (void *)&to, sizeof to);
    close(fd);
    return result;
}

static void collect(void)
{
    struct pollfd polls[MAX_TAPS];

    for (int i = 0; i < count; i++)
        polls[i] = (struct pollfd){.fd = taps[i].fd, .events = POLLIN};
    while (poll(polls, count, quiet_ms) > 0) {
        for (int i = 0; i < count; i++) {
            ssize_t length;

            while ((polls[i].revents & POLLIN) && (length = read(taps[i].fd, frame, sizeof frame)) > 0) {
                printf("%s ", taps[i].name);
                for (ssize_t o = 0; o < length; o++)
                    printf("%02x", frame[o]);
                printf("\n");
            }
        }
    }
}

int main(int argc, char **argv)
{
    char verb[16], name[64], rest[64];
    int mtu;

    if (argc > 1)
        quiet_ms = atoi(argv[1]);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    while (fgets(line, sizeof line, stdin)) {
        int at = 0, result = -1;

        errno = EINVAL;
        if (sscanf(line, "tap %63s %63s %d", name, rest, &mtu) == 3)
            result = make(name, rest, mtu);
        else if (sscanf(line, "gone %63s", name) == 1)
            result = gone(name);
        else if (sscanf(line, "%15s %63s %n", verb, name, &at) == 2 && at > 0) {
            int length = bytes(line + at);

            // What came unasked is nobody's answer.
            for (int i = 0; i < count; i++) {
                static unsigned char old[MAX_FRAME];

                while (read(taps[i].fd, old, sizeof old) > 0)
                    ;
            }
            errno = EINVAL;
            result = !strcmp(verb, "send")    ? put(name, length)
                     : !strcmp(verb, "host")  ? host(name, length)
                     : !strcmp(verb, "frame") ? past_ip(name, length)
                                              : -1;
            // The host's own packet did not get out: that is an answer, too.
            if (result >= 0 || errno == EPERM || errno == ENETUNREACH) {
                collect();
                printf("done\n");
                fflush(stdout);
                continue;
            }
        }
        if (result < 0)
            printf("error %s\n", strerror(errno));
        else
            printf("ok\n");
        fflush(stdout);
    }
    return 0;
}
