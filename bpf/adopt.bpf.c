// SPDX-License-Identifier: MIT
/*
 * Flows of a build whose layout was another: run once for each handful of them by the agent that takes over
 * (BPF_PROG_TEST_RUN), never attached. In the kernel, because by then the new programs insert flows of their own, and
 * accounts must stay exact (D7).
 *
 * The "packet" is an Ethernet header's length of nothing, the number of records (u32), and the records: a flow_key and
 * a flow each, in this build's layout. With RECORDS_AGED in the number last_seen is how long ago that was: they come
 * from whoever does not count in jiffies (the kernel's conntrack); with RECORDS_NEW_ONLY what is in the table already
 * stays as it is: the programs run, and know better. Slot, tag, rule and generations are filled in here. Every flow
 * comes in as judged by nobody: its next packet is judged by the rules of now, in the direction of its opener (D3), so
 * nothing passes that they do not allow.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "flow_table.h"

#define MOST_RECORDS 16
#define RECORDS_AGED 0x80000000u
#define RECORDS_NEW_ONLY 0x40000000u
#define FIRST_RECORD (ETH_LENGTH + 2 + 4)

/* Counted in the four bytes of the return value. */
enum adopted { ADOPTED = 0, MERGED = 1, EXPIRED = 2, REFUSED = 3 };

struct record {
    struct flow_key key;
    __u64 flow[sizeof(struct flow) / 8];
};

/* The entry is there: copied before, or made by our own programs meanwhile. Who saw the last packet is right. */
ALWAYS_INLINE int merge(struct flow *f, const struct flow *fresh)
{
    __u8 half_open;

    if (f->slot == NO_SLOT)
        return REFUSED;
    if ((__s32)(fresh->last_seen - f->last_seen) < 0)
        return MERGED;
    bpf_spin_lock(&f->lock);
    half_open = f->flags & FLOW_HALF_OPEN;
    f->state = fresh->state;
    f->flags = (fresh->flags & ~FLOW_HALF_OPEN) | half_open;
    f->endpoint[0] = fresh->endpoint[0];
    f->endpoint[1] = fresh->endpoint[1];
    f->last_seen = fresh->last_seen;
    f->host_generation = fresh->host_generation;
    f->translated = fresh->translated;
    bpf_spin_unlock(&f->lock);
    if (half_open && !(fresh->flags & FLOW_HALF_OPEN))
        flow_not_half_open(f);
    return MERGED;
}

GLOBAL int adopt_one(struct __sk_buff *skb, __u32 number, __u32 how)
{
    __u32 offset = FIRST_RECORD + number * sizeof(struct record), zero = 0, opener;
    struct scratch *w = work();
    struct flow *f, *fresh;
    struct control *c;
    struct packet *p;

    c = bpf_map_lookup_elem(&control, &zero);
    if (!w || !c)
        return REFUSED;
    p = &w->packet;
    fresh = (struct flow *)w->fresh;
    if (bpf_skb_load_bytes(skb, offset, &p->key, sizeof(p->key)) ||
        bpf_skb_load_bytes(skb, offset + sizeof(p->key), w->fresh, sizeof(w->fresh)))
        return REFUSED;
    p->now = bpf_jiffies64();
    if (how & RECORDS_AGED)
        fresh->last_seen = (__u32)p->now - fresh->last_seen;
    if (flow_expired(fresh, c, p->now))
        return EXPIRED;
    opener = fresh->flags & FLOW_OPENER_HI;
    p->endpoint = fresh->endpoint[opener & 1];
    p->receiver = fresh->endpoint[(opener & 1) ^ 1];
    fresh->tag = flow_tag(&p->key);
    fresh->rule = 0;
    fresh->host_generation = c->generation - 1;
    f = bpf_map_lookup_elem(&flow, &p->key);
    if (f)
        return how & RECORDS_NEW_ONLY ? MERGED : merge(f, fresh);
    return flow_insert(skb) ? REFUSED : ADOPTED;
}

SEC("tc") int flow_adopt(struct __sk_buff *skb)
{
    __u32 records = 0, counts = 0, how;

    if (bpf_skb_load_bytes(skb, FIRST_RECORD - 4, &records, 4))
        return 0;
    how = records & (RECORDS_AGED | RECORDS_NEW_ONLY);
    records &= ~how;
    for (__u32 i = 0; i < MOST_RECORDS; i++) {
        if (i >= records)
            break;
        counts += 1u << (adopt_one(skb, i, how) & 3) * 8;
    }
    return counts;
}

#define SWEEP_STEPS 64

/*
 * Takes off a port's list what is over or was deleted from `flow`, at once: `torbie flow flush` runs it. Otherwise that
 * is done a few entries at a time by whoever opens flows, and until then account.count says that the port owns more
 * than it does. The "packet" is as above, with the endpoint's number (u32) alone. One run is a few steps of the port's
 * reclaiming hand: it needs as many as account.count says, twice, for all of it.
 */
SEC("tc") int flow_sweep(struct __sk_buff *skb)
{
    __u32 number = 0, reclaimed = 0;

    if (bpf_skb_load_bytes(skb, FIRST_RECORD - 4, &number, 4))
        return 0;
    for (int i = 0; i < SWEEP_STEPS; i++)
        reclaimed += reclaim_one(skb, number, bpf_jiffies64());
    return reclaimed;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
