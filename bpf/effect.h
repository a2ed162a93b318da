/* SPDX-License-Identifier: MIT */
/*
 * What the programs do besides deciding: all that another packet, or whoever reads the maps, could notice. In the
 * object that explains (tap-explain.bpf.c), which runs on the live maps, none of it happens: whatever writes a map asks
 * DRY first, a constant, so that the attached programs are what they would be without it. There each decision is noted
 * instead, in `walk`; what a dry run would have written and goes by afterwards is kept in `dry`.
 */
#pragma once
#include "maps.h"
#include "packet.h"

#ifdef EXPLAIN
enum { DRY = 1 };
#define DRY_GLOBAL __attribute__((noinline))

MAP(walk, BPF_MAP_TYPE_ARRAY, __u32, struct step, MAX_STEPS);

struct dry {
    __u32 steps;     /* in `walk`; more than MAX_STEPS: the last were left out */
    __u32 condemned; /* the flow that was met is dead: judged again and refused */
    __u32 renewed;   /* judged again and allowed: its flags are */
    __u32 flags;
};
MAP(dry, BPF_MAP_TYPE_ARRAY, __u32, struct dry, 1);

ALWAYS_INLINE struct dry *dry_state(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&dry, &zero);
}

/* Global, so that the verifier goes through it once. */
__attribute__((noinline)) int take_down(__u32 kind, __u32 endpoint_number, __u32 a, __u32 b, __u32 c)
{
    struct dry *state = dry_state();
    struct step *step;
    __u32 index;

    if (!state)
        return 0;
    index = state->steps++;
    step = bpf_map_lookup_elem(&walk, &index);
    if (!step)
        return 0;
    step->kind = kind;
    step->endpoint = endpoint_number;
    step->number[0] = a;
    step->number[1] = b;
    step->number[2] = c;
    return 0;
}

ALWAYS_INLINE void condemn(void)
{
    struct dry *state = dry_state();

    if (state)
        state->condemned = 1;
}

ALWAYS_INLINE int is_condemned(void)
{
    struct dry *state = dry_state();

    return state && state->condemned;
}

ALWAYS_INLINE void renew(__u8 flags)
{
    struct dry *state = dry_state();

    if (!state)
        return;
    state->renewed = 1;
    state->flags = flags;
}

/* The flow's flags as they would be by now. */
ALWAYS_INLINE __u8 flags_now(const struct flow *f)
{
    struct dry *state = dry_state();

    return state && state->renewed ? state->flags : f->flags;
}
#else
enum { DRY = 0 };
#define DRY_GLOBAL NOINLINE

ALWAYS_INLINE int take_down(__u32 kind, __u32 endpoint_number, __u32 a, __u32 b, __u32 c)
{
    return 0;
}

ALWAYS_INLINE void condemn(void)
{
}

ALWAYS_INLINE int is_condemned(void)
{
    return 0;
}

ALWAYS_INLINE void renew(__u8 flags)
{
}

ALWAYS_INLINE __u8 flags_now(const struct flow *f)
{
    return f->flags;
}
#endif

/* note(kind, endpoint, a, b, c): one struct step. Its arguments are not even worked out where nobody listens. */
#define note(...)                                                                                                      \
    do {                                                                                                               \
        if (DRY)                                                                                                       \
            take_down(__VA_ARGS__);                                                                                    \
    } while (0)
