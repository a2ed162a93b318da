// SPDX-License-Identifier: MIT
/*
 * A hypervisor's network back end, in small: carries frames both ways between a tap of the host and the guest's
 * network interface, each with its virtio-net header, so that checksum and segmentation offload survive as they do
 * between QEMU and a guest with virtio-net. The guest's interface is a tap of its own in the guest's namespace: its
 * file is the "device model", and what one side asks of its offloads the other is told.
 *
 *   pump [--no-offload] [--host NETNS] PAIR...
 *   PAIR: TAP TAP-MAC GUEST-NETNS GUEST-INTERFACE GUEST-MAC MTU
 *
 * A NETNS is a path (/run/netns/x); without --host taps are made in the namespace the pump was started in. An interface
 * that exists already (ip tuntap add … vnet_hdr) is taken over, and then stays when the pump ends. Prints "ready" when
 * every pair is up, "gone TAP" when one is deleted, ends when all are, on SIGTERM, or with its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { BURST = 64, PAIR_WORDS = 6 };

/* The largest GSO frame: 64 KiB of IP, Ethernet with a tag, virtio-net header; and some. */
static unsigned char frame[1 << 17];
static int offload = 1;

struct end {
    int fd;
    struct end *peer;
    const char *tap; /* name of the host's side, for both */
};

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "pump: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

static void enter(int fd, const char *which)
{
    if (setns(fd, CLONE_NEWNET) != 0)
        fail("cannot enter network namespace", which);
}

static int open_namespace(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("cannot open network namespace", path);
    return fd;
}

/* Announces what this side may be given without the kernel doing it in software first. */
static void set_offload(int fd, const char *name)
{
    unsigned int flags = offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
    if (offload && ioctl(fd, TUNSETOFFLOAD, flags | TUN_F_USO4 | TUN_F_USO6) == 0)
        return;
    if (ioctl(fd, TUNSETOFFLOAD, flags) != 0)
        fail("TUNSETOFFLOAD", name);
}

/* Opens tap `name` in the current namespace and brings it up. */
static int open_tap(const char *name, const char *mac, int mtu)
{
    struct ifreq request = {0};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fail("cannot open", "/dev/net/tun");
    if (strlen(name) >= IFNAMSIZ) {
        errno = ENAMETOOLONG;
        fail("interface", name);
    }
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    strcpy(request.ifr_name, name);
    if (ioctl(fd, TUNSETIFF, &request) != 0)
        fail("TUNSETIFF", name);
    set_offload(fd, name);

    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        fail("socket for", name);
    unsigned char *byte = (unsigned char *)request.ifr_hwaddr.sa_data;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", byte, byte + 1, byte + 2, byte + 3, byte + 4, byte + 5) != 6) {
        errno = EINVAL;
        fail("not a MAC address:", mac);
    }
    if (ioctl(control, SIOCSIFHWADDR, &request) != 0)
        fail("cannot set the MAC address of", name);
    request.ifr_mtu = mtu;
    if (ioctl(control, SIOCSIFMTU, &request) != 0)
        fail("cannot set the MTU of", name);
    if (ioctl(control, SIOCGIFFLAGS, &request) != 0)
        fail("cannot read the flags of", name);
    request.ifr_flags |= IFF_UP;
    if (ioctl(control, SIOCSIFFLAGS, &request) != 0)
        fail("cannot bring up", name);
    close(control);
    return fd;
}

/*
 * Moves up to BURST frames from one end to the other, verbatim: both ends have the same 10-byte virtio-net header.
 * A frame that the other end refuses (interface down, queue full) is lost, as on a wire. False: this end is gone.
 */
static int carry(const struct end *from)
{
    for (int i = 0; i < BURST; i++) {
        ssize_t length = read(from->fd, frame, sizeof(frame));
        if (length < 0)
            return errno == EAGAIN || errno == EINTR;
        if (length > 0 && write(from->peer->fd, frame, length) < 0 && errno == EBADFD)
            return 0;
    }
    return 1;
}

static void watch(int poll, struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, end->fd, &event) != 0)
        fail("epoll_ctl", end->tap);
}

static void drop_pair(struct end *end)
{
    printf("gone %s\n", end->tap);
    close(end->fd);
    close(end->peer->fd);
    end->fd = end->peer->fd = -1;
}

int main(int argc, char **argv)
{
    char **word = argv + 1;
    int host = open_namespace("/proc/self/ns/net");

    pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        return 1; /* the parent went before it could be watched */
    for (; *word && strncmp(*word, "--", 2) == 0; word++) {
        if (strcmp(*word, "--no-offload") == 0) {
            offload = 0;
        } else if (strcmp(*word, "--host") == 0 && word[1]) {
            close(host);
            host = open_namespace(*++word);
        } else {
            break;
        }
    }
    int words = argc - (int)(word - argv);
    if (words == 0 || words % PAIR_WORDS != 0) {
        fprintf(stderr,
                "usage: pump [--no-offload] [--host NETNS] {TAP TAP-MAC GUEST-NETNS GUEST-IF GUEST-MAC MTU}...\n");
        return 2;
    }

    int pairs = words / PAIR_WORDS, poll = epoll_create1(EPOLL_CLOEXEC);
    struct end *ends = calloc(2 * pairs, sizeof(*ends));
    if (poll < 0 || !ends)
        fail("cannot begin", "");
    for (int i = 0; i < pairs; i++, word += PAIR_WORDS) {
        struct end *tap = &ends[2 * i], *guest = tap + 1;
        int mtu = atoi(word[5]), inside = open_namespace(word[2]);
        /* The guest's first: by the time the host sees its tap, somebody is there. */
        enter(inside, word[2]);
        *guest = (struct end){open_tap(word[3], word[4], mtu), tap, word[0]};
        enter(host, "of the host");
        *tap = (struct end){open_tap(word[0], word[1], mtu), guest, word[0]};
        close(inside);
        watch(poll, tap);
        watch(poll, guest);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");

    for (int left = pairs; left > 0;) {
        struct epoll_event ready[BURST];
        int count = epoll_wait(poll, ready, BURST, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait", "");
        for (int i = 0; i < count; i++) {
            struct end *end = ready[i].data.ptr;
            if (end->fd >= 0 && !carry(end)) {
                drop_pair(end);
                left--;
            }
        }
    }
    return 0;
}
