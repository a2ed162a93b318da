// SPDX-License-Identifier: MIT
/*
 * The cable of a guest whose emulator is on another machine: frames with their virtio-net headers between an interface
 * here and a stream that leads there, so that checksum and segmentation offload survive as they do between QEMU and a
 * tap.
 *
 *   plug tap INTERFACE STREAM CONSOLE
 *       where the guest is to be: INTERFACE is a tap that is there (ip tuntap add … vnet_hdr), whose device model this
 *       is; CONSOLE is joined to standard input and output
 *   plug packet INTERFACE STREAM
 *       where its emulator is: INTERFACE is the emulator's tap, heard by a packet socket
 *
 * STREAM and CONSOLE are character devices or Unix sockets that listen. On the stream a frame follows its length, 4
 * bytes, least significant first, the header of 10 bytes counted. What the stream can't take is lost, as on a wire.
 * Ends with its parent, on SIGTERM, or when an end is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* 64 KiB of IP, Ethernet, the header; and some. */
enum { FRAME_MAX = 1 << 17, QUEUE = 1 << 20, PAUSE_MS = 100 };

/* Bytes on their way to a descriptor that does not always take them. */
struct queue {
    unsigned char bytes[QUEUE];
    size_t used;
};

static struct queue to_stream, to_console, to_out;
/* What has come of frames by the stream. */
static unsigned char received[2 * FRAME_MAX];
static size_t has;

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "plug: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

static int open_stream(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat what;
    int fd;

    if (stat(path, &what))
        fail("no", path);
    if (!S_ISSOCK(what.st_mode)) {
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            fail("cannot open", path);
        return fd;
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        fail("socket", path);
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) || fcntl(fd, F_SETFL, O_NONBLOCK))
        fail("cannot connect to", path);
    return fd;
}

static int open_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        fail("cannot open", "/dev/net/tun");
    if (strlen(name) >= IFNAMSIZ) {
        errno = ENAMETOOLONG;
        fail("interface", name);
    }
    strcpy(request.ifr_name, name);
    if (ioctl(fd, TUNSETIFF, &request) ||
        ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN))
        fail("cannot take tap", name);
    return fd;
}

static int open_packet(const char *name)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = __builtin_bswap16(ETH_P_ALL)};
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("no packet socket for", name);
    address.sll_ifindex = (int)if_nametoindex(name);
    if (address.sll_ifindex == 0)
        fail("no interface", name);
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)))
        fail("cannot hear", name);
    return fd;
}

static void put(struct queue *queue, const void *bytes, size_t count)
{
    memcpy(queue->bytes + queue->used, bytes, count);
    queue->used += count;
}

/* False: the end is gone. */
static int drain(struct queue *queue, int fd)
{
    ssize_t written = queue->used ? write(fd, queue->bytes, queue->used) : 0;

    if (written < 0)
        return errno == EAGAIN || errno == EINTR;
    queue->used -= (size_t)written;
    memmove(queue->bytes, queue->bytes + written, queue->used);
    return 1;
}

/* One frame of the interface into the stream. False: the interface is gone. */
static int take_frame(int interface)
{
    static unsigned char frame[FRAME_MAX];
    ssize_t length = read(interface, frame, sizeof(frame));
    uint32_t size = (uint32_t)length;

    if (length < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENETDOWN;
    if (length > 0 && QUEUE - to_stream.used >= sizeof(size) + (size_t)length) {
        put(&to_stream, &size, sizeof(size));
        put(&to_stream, frame, (size_t)length);
    }
    return 1;
}

/* What the stream has into the interface, frame by frame. False: the stream is gone, or says nonsense. */
static int give_frames(int stream, int interface)
{
    ssize_t length = read(stream, received + has, sizeof(received) - has);
    size_t at = 0;
    uint32_t size;

    if (length < 0)
        return errno == EAGAIN || errno == EINTR;
    if (length == 0) {
        /* A port whose other end nobody has opened yet reads as ended. */
        usleep(PAUSE_MS * 1000);
        return 1;
    }
    has += (size_t)length;
    while (has - at >= sizeof(size)) {
        memcpy(&size, received + at, sizeof(size));
        if (size > FRAME_MAX) {
            fprintf(stderr, "plug: a frame of %u bytes on the stream\n", size);
            return 0;
        }
        if (has - at < sizeof(size) + size)
            break;
        at += sizeof(size);
        /* Refused: it is lost. */
        if (write(interface, received + at, size) < 0 && errno == EBADFD)
            return 0;
        at += size;
    }
    has -= at;
    memmove(received, received + at, has);
    return 1;
}

/* Bytes as they are. False: the end is gone. */
static int copy(int from, struct queue *queue)
{
    unsigned char bytes[4096];
    ssize_t length = read(from, bytes, QUEUE - queue->used < sizeof(bytes) ? QUEUE - queue->used : sizeof(bytes));

    if (length < 0)
        return errno == EAGAIN || errno == EINTR;
    put(queue, bytes, (size_t)length);
    return length > 0;
}

int main(int argc, char **argv)
{
    int is_tap = argc == 5 && strcmp(argv[1], "tap") == 0;
    int stream, interface, console = -1;
    pid_t parent = getppid();

    if (!is_tap && !(argc == 4 && strcmp(argv[1], "packet") == 0)) {
        fprintf(stderr, "usage: plug tap INTERFACE STREAM CONSOLE | plug packet INTERFACE STREAM\n");
        return 2;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
        return 1; /* the parent went before it could be watched */
    signal(SIGPIPE, SIG_IGN);
    interface = is_tap ? open_tap(argv[2]) : open_packet(argv[2]);
    stream = open_stream(argv[3]);
    if (is_tap) {
        console = open_stream(argv[4]);
        if (fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK))
            fail("cannot read", "standard input");
    }
    for (;;) {
        struct pollfd ends[] = {
            {.fd = interface, .events = POLLIN},
            {.fd = stream, .events = (short)(POLLIN | (to_stream.used ? POLLOUT : 0))},
            {.fd = console, .events = (short)(POLLIN | (to_console.used ? POLLOUT : 0))},
            {.fd = is_tap ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (poll(ends, 4, -1) < 0) {
            if (errno == EINTR)
                continue;
            fail("poll", "");
        }
        if (ends[0].revents && !take_frame(interface))
            return 0;
        if (ends[1].revents & (POLLIN | POLLHUP) && !give_frames(stream, interface))
            return 0;
        if (ends[2].revents & POLLIN && !copy(console, &to_out))
            return 0;
        if ((ends[2].revents & (POLLIN | POLLHUP)) == POLLHUP)
            usleep(PAUSE_MS * 1000); /* nobody has opened its other end yet */
        if (ends[3].revents && !copy(STDIN_FILENO, &to_console))
            return 0;
        if (!drain(&to_stream, stream) || (is_tap && (!drain(&to_console, console) || !drain(&to_out, STDOUT_FILENO))))
            return 0;
    }
}
