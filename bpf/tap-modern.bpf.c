// SPDX-License-Identifier: MIT
/* The same programs where the kernel lets them read struct sk_buff (6.2 and newer): see checksum.h. */
#define KERNEL_CONTEXT
#include "tap.bpf.c"
