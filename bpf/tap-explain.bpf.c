// SPDX-License-Identifier: MIT
/*
 * The same programs for `torbie explain`: run once on the live maps by BPF_PROG_TEST_RUN, never attached. They change
 * none of them (effect.h) and note how they came to their verdict.
 */
#define EXPLAIN
#include "tap.bpf.c"
