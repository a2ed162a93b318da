// SPDX-License-Identifier: MIT
/*
 * Frames of an interface as text, past the guest's own stack: what a hostile guest would send, and what really came.
 *
 *   wire INTERFACE
 *
 * Standard input, one line a frame: HEX, or HEX/HEX with its 10-byte virtio-net header first (else that is zero: no
 * offload asked for). Standard output: "ready", then every frame that arrives as HEX/HEX the same way, VLAN tag in
 * place; "sent", or "error TEXT", for every line read. Ends with its standard input, or with its parent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FRAME = 1 << 17, HEADER = sizeof(struct virtio_net_hdr), MACS = 12, TAG = 4 };

static unsigned char frame[MAX_FRAME];

static void fail(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_interface(const char *name)
{
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    if (fd < 0)
        fail("socket");
    address.sll_ifindex = if_nametoindex(name);
    if (address.sll_ifindex == 0)
        fail(name);
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0)
        fail("setsockopt");
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fail("bind");
    return fd;
}

/* Bytes of `text` up to `end` into `to`; their number, or -1. */
static int from_hex(const char *text, const char *end, unsigned char *to)
{
    int count = 0;
    for (; text < end; text += 2, count++)
        if (end - text < 2 || count == MAX_FRAME || sscanf(text, "%2hhx", to + count) != 1)
            return -1;
    return count;
}

static void send_line(int fd, char *line)
{
    char *slash = strchr(line, '/'), *end = line + strcspn(line, "\n");
    int header = HEADER, body;
    memset(frame, 0, HEADER);
    if (slash)
        header = from_hex(line, slash, frame);
    body = from_hex(slash ? slash + 1 : line, end, frame + HEADER);
    if (header != HEADER || body <= 0)
        puts("error not hexadecimal, or not the size of a header");
    else if (send(fd, frame, HEADER + body, 0) < 0)
        printf("error %s\n", strerror(errno));
    else
        puts("sent");
}

/* Sends every line that is complete by now: stdio would hide some from poll, or read byte by byte. 0 at the end. */
static int read_lines(int fd)
{
    static char text[2 * MAX_FRAME + 64];
    static int length;
    int count = read(0, text + length, sizeof(text) - 1 - length);
    if (count <= 0)
        return 0;
    length += count;
    text[length] = 0;
    char *line = text;
    for (char *end; (end = memchr(line, '\n', text + length - line)); line = end + 1) {
        *end = 0;
        send_line(fd, line);
    }
    length -= line - text;
    memmove(text, line, length);
    if (length == sizeof(text) - 1) {
        fprintf(stderr, "wire: a line is too long\n");
        return 0;
    }
    return 1;
}

static void print_hex(const unsigned char *bytes, int count)
{
    for (int i = 0; i < count; i++)
        printf("%02x", bytes[i]);
}

static void receive(int fd)
{
    char control[128];
    struct iovec part = {frame, sizeof(frame)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    int length = recvmsg(fd, &message, 0), tagged = 0;
    unsigned char tag[TAG];
    if (length < HEADER + MACS)
        return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        const struct tpacket_auxdata *aux = (void *)CMSG_DATA(c);
        if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || !(aux->tp_status & TP_STATUS_VLAN_VALID))
            continue;
        unsigned short words[2] = {htons(aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : ETH_P_8021Q),
                                   htons(aux->tp_vlan_tci)};
        memcpy(tag, words, TAG);
        tagged = 1;
    }
    print_hex(frame, HEADER);
    putchar('/');
    print_hex(frame + HEADER, MACS);
    if (tagged)
        print_hex(tag, TAG);
    print_hex(frame + HEADER + MACS, length - HEADER - MACS);
    putchar('\n');
}

int main(int argc, char **argv)
{
    pid_t parent = getppid();
    if (argc != 2) {
        fprintf(stderr, "usage: wire INTERFACE\n");
        return 2;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int fd = open_interface(argv[1]);
    puts("ready");
    for (;;) {
        struct pollfd set[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        if (poll(set, 2, -1) < 0 && errno != EINTR)
            fail("poll");
        if (set[1].revents)
            receive(fd);
        if (set[0].revents) {
            if (!read_lines(fd))
                return 0;
        }
    }
}
