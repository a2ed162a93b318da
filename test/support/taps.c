// SPDX-License-Identifier: MIT
/*
 * Holds taps open: taps NAME... creates one each, up, with MAC fe:16:3e:00:HI:LO by its place in the list, prints
 * "ready" and keeps them until its standard input ends. What is sent to them is dropped in the kernel (a filter that
 * accepts nothing), so that a benchmark measures the way to the tap and not who reads it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "taps: %s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog filter = {.len = 1, .filter = &nothing};
    struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char buffer[256];

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 1; i < argc; i++) {
        struct ifreq request = {0};
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

        if (fd < 0)
            fail("open", "/dev/net/tun");
        if (strlen(argv[i]) >= IFNAMSIZ) {
            errno = ENAMETOOLONG;
            fail("name", argv[i]);
        }
        strcpy(request.ifr_name, argv[i]);
        request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        if (ioctl(fd, TUNSETIFF, &request))
            fail("create", argv[i]);
        if (ioctl(fd, TUNATTACHFILTER, &filter))
            fail("filter", argv[i]);
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        memcpy(request.ifr_hwaddr.sa_data, "\xfe\x16\x3e\x00", 4);
        request.ifr_hwaddr.sa_data[4] = (char)(i >> 8);
        request.ifr_hwaddr.sa_data[5] = (char)i;
        if (ioctl(control, SIOCSIFHWADDR, &request))
            fail("address", argv[i]);
        request.ifr_flags = IFF_UP | IFF_RUNNING;
        if (ioctl(control, SIOCSIFFLAGS, &request))
            fail("up", argv[i]);
    }
    printf("ready\n");
    fflush(stdout);
    while (read(0, buffer, sizeof(buffer)) > 0)
        ;
    return 0;
}
