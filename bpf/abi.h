/* SPDX-License-Identifier: MIT */
/*
 * Every struct, enum and limit that crosses the border between the kernel programs and the control plane.
 *
 * Written once: TypeScript's view (src/abi/layout.gen.ts) is generated from the BTF of the built object, and CI
 * fails when the two differ. Addresses are always 16 bytes in network byte order; an IPv4 address a.b.c.d is
 * written ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), and a real IPv6 packet that carries such an address is dropped.
 * Ports and ICMP type/code are in HOST byte order here (type << 8 | code); MACs are as on the wire.
 * Numbers (endpoint, class, policy set, rule) are the agent's; 0 always means "none".
 */
#pragma once

#define ABI_VERSION 2

enum limits {
    MAX_ENDPOINTS = 8192,       /* endpoint numbers are 1..8191 */
    MAX_TAPS = 16384,
    MAX_FLOWS = 262144,         /* default size of `flow`, `flow_slot`, `flow_free`; set before load */
    MAX_RULES = 65536,          /* rule numbers are 1..65535 */
    MAX_REASONS = 48,           /* drop reasons per endpoint in `drop` */
    MAX_PLANES = 16,            /* tiers that may apply to one policy set and direction */
    CLASSES_PER_ADDRESS = 7,    /* more are interned as one composite class */
    MAX_BLOCKS = 4096,          /* block numbers are 1..4095 */
    MAX_CLASS_LISTS = 16384,    /* numbers of `class_list` are 1..16383 */
    NAME_TEXT = 232,
    MAX_STEPS = 128,
    DROP_FRAME = 128,           /* bytes of a dropped frame that are told */
    DROP_WINDOW = 100000000,    /* nanoseconds: see drop_watch */
};

/* Class numbers with a fixed meaning. */
enum class_number {
    CLASS_NONE = 0,
    CLASS_ANY = 1,              /* every address: a rule with no remote match */
    CLASS_FIRST = 16,           /* the agent numbers from here */
    CLASS_SOURCE_PORT = 0x7fffffff, /* policy key that maps a source port prefix to a source class */
};

enum direction { INGRESS = 0, EGRESS = 1 };     /* seen from the guest: INGRESS is towards it */

enum action {
    ACTION_NONE = 0,            /* nothing matched */
    ACTION_ALLOW = 1,
    ACTION_DENY = 2,
    ACTION_PASS = 3,            /* on to the next plane */
};

/* Protocols whose port prefix lengths are remembered one by one in `struct plane`; every other protocol has
 * entries of length 0 only. */
enum protocol_group {
    GROUP_TCP = 0, GROUP_UDP = 1, GROUP_ICMP = 2, GROUP_ICMPV6 = 3, GROUP_SCTP = 4, GROUP_UDPLITE = 5,
    GROUP_DCCP = 6, GROUP_OTHER = 7, PROTOCOL_GROUPS = 8,
};

struct address {
    __u32 word[4];              /* network byte order */
};

/* --- `control`: ARRAY[1]. Written by the agent, read on every packet. ------------------------------------- */
enum flow_state {
    FLOW_DEAD = 0,              /* free to be taken over or reclaimed */
    FLOW_NEW = 1,               /* not TCP, one direction seen */
    FLOW_REPLIED = 2,           /* not TCP, both seen */
    FLOW_SYN_SENT = 3,          /* until its opener goes on after an answer */
    FLOW_ESTABLISHED = 4,
    FLOW_CLOSING = 5,           /* a FIN was seen each way */
    FLOW_CLOSED = 6,            /* RST */
    FLOW_ICMP = 7,              /* a query of ICMP or ICMPv6 */
    FLOW_FIN = 8,               /* a FIN was seen one way */
    FLOW_OTHER = 9,             /* neither TCP, UDP, UDP-Lite nor an ICMP query */
    FLOW_FRAGMENT = 10,         /* no state: how long later fragments may follow their first */
    FLOW_STATES = 16,
};

struct control {
    __u32 generation;           /* D3: moves when anything that several endpoints share may have narrowed */
    __u32 endpoint_limit;       /* one more than the highest endpoint number in use */
    __u32 guaranteed;           /* D7: flows that every port may have, whatever the others do */
    __u32 reserve;              /* entries that no port may borrow: free entries below this serve guarantees only */
    __u32 port_limit;           /* most flows that one port may own */
    __u32 flow_limit;           /* entries in the flow table */
    __u32 flags;                /* enum control_flag */
    __u32 pad;
    __u32 timeout[FLOW_STATES]; /* jiffies, by enum flow_state */
};

enum control_flag {
    CONTROL_LOCAL_PREFIXES = 1, /* `local_prefix` is not empty */
    CONTROL_PREFIXES = 2,       /* `prefix` is not empty */
    CONTROL_HOST_TO_GUEST = 4,  /* S9: what the host originates passes */
    CONTROL_METADATA_IPV4 = 8,  /* S7: 169.254.169.254:80 is served */
    CONTROL_METADATA_IPV6 = 16, /* S7: [fe80::a9fe:a9fe]:80 is served */
    CONTROL_NAMES = 32,         /* S7: guests reach port 53 of the host */
    CONTROL_FLOATING = 64,      /* `floating` is not empty */
};

/* --- `tap`: HASH ifindex (u32, host order) -> endpoint number (u32). Missing: NO_ENDPOINT, the packet drops. - */
/* --- `tap_slot`: ARRAY by ifindex % MAX_TAPS: the same for the tap that has the slot, without hashing; of two taps that
 *     would share one, one is in `tap` only. ----------------------------------------------------------------- */
struct tap_slot {
    __u32 ifindex;              /* 0: nobody's; another's: ask `tap` */
    __u32 endpoint;             /* number */
};

/* --- `endpoint`: ARRAY by endpoint number. ---------------------------------------------------------------- */
enum endpoint_flag {
    ENDPOINT_PRESENT = 1,       /* without it the number is free */
    ENDPOINT_ADMIN_DOWN = 2,    /* S9: passes nothing */
    ENDPOINT_NO_PORT_SECURITY = 4, /* S6: no source checks, no groups */
    ENDPOINT_BLOCKED = 8,       /* its description could not be understood: passes nothing */
};

struct endpoint {
    __u32 ifindex;              /* 0: its tap is not there */
    __u32 generation;           /* D3 */
    __u32 policy_set;           /* 0: nothing is allowed */
    __u32 flags;                /* enum endpoint_flag */
    __u32 mtu;                  /* of the tap; 0 unknown: not enforced */
    __u16 mark;                 /* number that `skb->mark` carries to this tap; always ifindex % 16383 + 1,
                                 * 0: none (two taps collide), the tap's egress program then judges itself */
    __u8 mac[6];                /* the guest's */
    __u8 host_mac[6];           /* the tap's own: what the guest sends to */
    __u16 pad;
    __u32 pad2[4];
};

/* --- `source`: LPM_TRIE, where an endpoint may send from (S6). Missing: SPOOFED_ADDRESS. -------------------- */
struct source_key {
    __u32 prefixlen;            /* bits: 32 for the endpoint number and 0..128 of the address */
    __u32 endpoint;             /* NETWORK byte order: an LPM key is compared as bytes */
    struct address address;
};

struct source {
    __u32 policy_set;           /* where rules tell the endpoint's own addresses apart; 0: the endpoint's */
    __u8 mac[6];                /* all zero: the endpoint's own */
    __u16 pad;
};

/* --- `local`: HASH address, and `local_prefix`: LPM_TRIE: who on this host gets what is sent to an address. - */
enum local_flag {
    LOCAL_SHARED = 1,           /* several local endpoints have it: follows the last to announce it */
    LOCAL_REMOTE_TOO = 2,       /* endpoints of other hosts have it as well: may be a source on an uplink */
};

struct local {
    __u32 endpoint;             /* number; the program itself moves it when LOCAL_SHARED */
    __u32 policy_set;           /* 0: the endpoint's */
    __u8 mac[6];                /* all zero: the endpoint's own */
    __u8 flags;                 /* enum local_flag */
    __u8 pad;
};

struct prefix_key {
    __u32 prefixlen;            /* 0..128 */
    struct address address;
};

/* --- `floating`: HASH address -> address: a floating IP (S8), and the local address that it stands for. What is sent to
 *     it is judged as to that, and goes up the stack, whose NAT writes the address. ------------------------------- */

/* --- `remote`: HASH address, and `prefix`: LPM_TRIE by prefix_key: classes of an address (D2). -------------- */
enum classes_flag {
    CLASSES_COMPLETE = 1,       /* do not add those of the longest prefix */
};

struct classes {
    __u32 number[CLASSES_PER_ADDRESS];
    __u8 count;
    __u8 flags;                 /* enum classes_flag */
    __u16 pad;
};

/*
 * --- `block`: HASH, the first 24 bits of an IPv4 address (network byte order, the last byte 0) -> block number (u32);
 *     `member`: ARRAY by block number; `class_list`: ARRAY of struct classes. ---------------------------------------
 * What `remote` says of most IPv4 addresses, in a tenth of the memory: a first packet from one of 100,000 members finds it
 * in cache. Written after `remote`, and where it says nothing `remote` is asked. A number of a block or list is given to
 * another only after seconds: a program may still be reading.
 */
struct members {
    __u16 list[256];            /* by the address's last byte; 0: ask `remote` */
};

/* --- `plane`: HASH, one tier of a policy set in one direction. Missing: POLICY_MISSING, the packet drops. --- */
struct plane_key {
    __u32 policy_set;
    __u8 direction;             /* enum direction */
    __u8 number;                /* 0.. in order of evaluation */
    __u16 pad;
};

enum plane_flag {
    PLANE_ALLOW_ONLY = 1,       /* the first hit that is not stateless decides: order does not matter */
    PLANE_ANY_PROTOCOL = 2,     /* has entries of protocol PROTOCOL_ANY */
    PLANE_SOURCE_PORTS = 4,     /* has entries with a source class */
    PLANE_LOG = 8,              /* has entries in the log half (policy_key.log = 1) */
    PLANE_ANY_CLASS = 16,       /* has entries of CLASS_ANY */
};

enum { PROTOCOL_ANY = 255 };

struct plane {
    __u32 lengths[PROTOCOL_GROUPS]; /* bit n: entries of port prefix length n (0..16) exist for the group */
    __u32 source_lengths;       /* the same for source ports, any protocol */
    __u32 everything[2];        /* IPv4, IPv6: the rule that allows all there is, so that nothing else need be asked; 0: none */
    __u8 end;                   /* enum action: ACTION_DENY, ACTION_PASS or ACTION_ALLOW when nothing matched */
    __u8 flags;                 /* enum plane_flag */
    __u16 pad;
};

/* --- `policy`: HASH: (set, direction, plane, family, class, protocol, port prefix, source class) -> entry. -- */
struct policy_key {
    __u32 policy_set;
    __u32 class;
    __u16 port;                 /* host order, bits below the prefix are 0; ICMP: type << 8 | code */
    __u16 source_class;         /* 0: any source port */
    __u8 length;                /* 0..16 */
    __u8 protocol;              /* IANA number or PROTOCOL_ANY */
    __u8 plane;
    __u8 way;                   /* direction | (IPv6 ? 2 : 0) | (log ? 4 : 0) */
};

enum { WAY_IPV6 = 2, WAY_LOG = 4 };

enum entry_flag {
    ENTRY_STATELESS = 1,        /* S5: no flow is remembered for what it allows */
};

struct policy_entry {
    __u32 order;                /* lower decides first within a plane */
    __u32 rule;                 /* rule number; source class where class is CLASS_SOURCE_PORT */
    __u8 action;                /* enum action; in the log half: what is logged is this rule */
    __u8 flags;                 /* enum entry_flag */
    __u16 pad;
};

/* --- `flow`: HASH, one entry a flow, both directions. Written by the programs. ------------------------------ */
struct flow_key {
    struct address address[2];  /* [0] is the lower of the two as big-endian numbers: "lo", [1] is "hi" */
    __u16 port[2];              /* of lo and hi; ICMP queries: identifier, then request type << 8 | code; else 0 */
    __u8 protocol;
    __u8 family;                /* 4 or 6 */
    __u16 asker;                /* ICMP queries: 1 when lo asks, 2 when hi does; else 0 */
};

enum flow_flag {
    FLOW_OPENER_HI = 1,         /* hi sent the first packet */
    FLOW_STATELESS_LO = 2,      /* lo's port judges every packet by its rules */
    FLOW_STATELESS_HI = 4,
    FLOW_HOST = 8,              /* the other end is this host itself (S9) */
    FLOW_FIN_LO = 16,           /* lo has sent a FIN */
    FLOW_FIN_HI = 32,
    FLOW_HALF_OPEN = 64,        /* inbound, and its opener has not gone on after an answer: counted in account.half_open */
    FLOW_PAIR_MAC = 128,        /* not for the short way: an end has another MAC than its endpoint's (see `local`), or
                                 * the flow is translated */
};

struct flow {
    __u16 endpoint[2];          /* numbers of lo and hi; 0: not on this host */
    __u8 state;                 /* enum flow_state */
    __u8 flags;                 /* enum flow_flag */
    __u16 tag;                  /* of the key: a reader checks it, since a recycled element may change under it */
    __u32 generation[2];        /* of the endpoints lo and hi when it was judged */
    __u32 host_generation;      /* control.generation when it was judged */
    __u32 rule;                 /* that allowed it at the side that is judged last, 0 none */
    __u32 slot;                 /* index in `flow_slot` */
    __u32 last_seen;            /* low 32 bits of jiffies */
    __u64 packets[2];           /* sent by lo, by hi */
    __u64 bytes[2];             /* L3 and above */
    struct bpf_spin_lock lock;
    __u32 translated;           /* 1: its opener's packets are not to the address in the key: the kernel's NAT has them,
                                 * and the answers too */
};

/* --- `flow_slot`: ARRAY, `flow_free`: QUEUE of u32 slot numbers, `account`: ARRAY by endpoint number. -------- */
struct flow_slot {
    struct flow_key key;
    __u32 next;                 /* slot + 1; 0 ends the list */
    __u16 owner;                /* endpoint number whose list it is on; 0: free */
    __u16 half_open;            /* 1: counted in account.half_open */
};

struct account {
    struct bpf_spin_lock lock;
    __u32 head;                 /* slot + 1 of the newest flow, 0 none */
    __u32 hand;                 /* slot + 1 that the reclaiming hand looks at next, 0: start at head */
    __u32 hand_previous;        /* slot + 1 before the hand, 0: the hand is at the head */
    __u32 count;                /* entries on the list = entries of `flow` that it owns */
    __u32 half_open;            /* of them inbound and not confirmed: whoever opened them may have forged his address */
    __u32 opened;               /* ever */
    __u32 refused;              /* new flows refused for lack of room */
};

/* --- `pool`: ARRAY[1], flows in use and where the hand looks for other ports' expired entries. --------------- */
struct pool {
    __u64 used;
    __u32 hand;                 /* endpoint number */
    __u32 pad;
};

/* --- `fragment`: LRU_HASH: what a first fragment was allowed, for those that follow. ------------------------- */
struct fragment_key {
    struct address source;
    struct address destination;
    __u32 id;                   /* network byte order as on the wire; IPv4: 16 bits */
    __u8 protocol;              /* of the IP or fragment header */
    __u8 family;
    __u16 endpoint;             /* number of the sender when it is local, else 0 */
};

struct fragment {
    __u32 endpoint;             /* number of the receiver, 0: off this host */
    __u32 generation;           /* of the sender, else of the receiver */
    __u32 host_generation;
    __u32 seen;                 /* low 32 bits of jiffies of the first fragment */
    __u32 peer_generation;      /* of the receiver */
    __u16 flags;                /* 1: to the host itself; 2: translated */
    __u16 least;                /* bytes: a later fragment that begins before lies over the L4 header that was judged */
};

/* --- `drop`: ARRAY of u64, index = endpoint * MAX_REASONS + reason; endpoint 0 where none is known. ----------- */
/* --- `rule_hit`: ARRAY of u64 by rule number: first packets (and packets of stateless rules) it decided. ------ */
/* --- `uplink`: HASH ifindex -> u32 (1): interfaces to which the programs may redirect. ------------------------ */

/*
 * Why a packet was dropped. A number keeps its meaning for ever; src/dataplane/bpf/reasons.ts holds the sentence
 * for each (a test compares the two).
 */
enum reason {
    REASON_NONE = 0,
    NO_ENDPOINT = 1,            /* tap without an entry */
    ADMIN_DOWN = 2,
    ENDPOINT_IS_BLOCKED = 3,
    MALFORMED = 4,
    UNKNOWN_ETHERTYPE = 5,
    VLAN_TAGGED = 6,
    WRONG_DESTINATION_MAC = 7,
    SPOOFED_MAC = 8,
    SPOOFED_ADDRESS = 9,
    SPOOFED_ARP = 10,
    SPOOFED_ND = 11,
    LINK_LOCAL = 12,            /* by link-local address to another than the host, or not what is allowed there */
    MULTICAST = 13,             /* broadcast or multicast */
    MARTIAN = 14,               /* destination or source that is never forwarded */
    SOURCE_ROUTE = 15,
    DHCP_SERVER = 16,           /* a guest answers DHCP */
    ROUTER_ADVERTISEMENT = 17,  /* a guest sends RA or redirect */
    CHECKSUM_METADATA = 18,     /* virtio checksum start and offset are not those of the judged header */
    POLICY_EGRESS = 19,         /* no rule of the sender admits it */
    POLICY_INGRESS = 20,        /* no rule of the receiver admits it */
    DENIED_EGRESS = 21,         /* a Deny rule */
    DENIED_INGRESS = 22,
    POLICY_MISSING = 23,        /* the policy set is not (yet) there */
    FRAGMENT_WITHOUT_FIRST = 24,
    FRAGMENT_TINY = 25,         /* the first fragment does not hold the whole L4 header, or a later one overlaps it */
    EXTENSION_HEADERS = 26,     /* too many, or not in order */
    FLOW_TABLE_FULL = 27,       /* no entry to be had for this port */
    ICMP_ERROR_UNRELATED = 28,
    ICMP_ERROR_ABOUT_ERROR = 29,
    HOST_UNREACHABLE_TO_GUEST = 30, /* the host itself is not to be reached (S7); where the kernel tells it from the next */
    NO_ROUTE = 31,              /* the host has no route, or the destination is the host's own (the FIB does not say which) */
    UPLINK_SPOOFED = 32,        /* from an uplink with the address of a local guest */
    RECEIVER_GONE = 33,         /* the receiver has no tap */
    RECEIVER_DOWN = 34,         /* its admin state, or it is blocked */
    ARP_ABSORBED = 35,          /* ARP that needs no answer: not a fault */
    ND_ABSORBED = 36,           /* likewise */
    UNSPECIFIED_SOURCE = 37,    /* from 0.0.0.0 or :: and neither DHCP nor DAD */
    SELF = 38,                  /* source and destination are the same address */
    FLOW_RACE = 39,             /* two CPUs wanted one entry: retransmission passes */
    HOST_TO_GUEST_OFF = 40,     /* S9 switched off */
    ROUTING_LOOP = 41,          /* hop limit is up where no answer can be given */
    REASONS = 42,
};

/* What `skb->mark` says (16 bits, shifted by the constant mark_shift, 0 by default: Felix uses the upper 16). */
enum mark {
    MARK_JUDGED = 0x8000,       /* may be forwarded; the low 14 bits name the tap it may leave by, 0 none */
    MARK_HOST = 0x4000,         /* admitted to the host itself; with MARK_JUDGED: forwarded, and the kernel's NAT has it */
    MARK_NUMBER = 0x3fff,
    MARK_ALL = 0xffff,
};

/* --- `event`: RINGBUF. ---------------------------------------------------------------------------------------- */
enum event_kind { EVENT_LOG = 1 };

struct event {
    __u32 kind;                 /* enum event_kind */
    __u32 endpoint;             /* number */
    __u32 rule;
    __u8 direction;
    __u8 protocol;
    __u8 family;
    __u8 action;
    struct address source;
    struct address destination;
    __u16 source_port;          /* host order */
    __u16 destination_port;
    __u32 length;
};

/*
 * --- `drop_watch`: ARRAY[1], written by who watches; `drop_seen`: ARRAY[1], by the programs; `drop_event`: RINGBUF of
 *     struct drop_event. All three are used only where a packet is dropped. ------------------------------------------
 * A watcher that dies is forgotten when its lease ends: the programs then set `until` to 0 themselves.
 */
struct drop_watch {
    __u64 until;                /* nanoseconds of CLOCK_MONOTONIC; 0: nobody watches, and nothing else is looked at */
    __u64 reasons;              /* bit n: enum reason n is told */
    __u32 endpoint;             /* number: what is counted there; 0: of any, or of none */
    __u32 ifindex;              /* or what is met at this interface, wherever it is counted; 0: only the former */
    __u32 most;                 /* told in DROP_WINDOW, of all CPUs together; a few more when several begin one at once */
    __u32 pid;                  /* whose lease it is */
};

struct drop_seen {
    __u64 window;               /* when it began, nanoseconds of CLOCK_MONOTONIC */
    __u64 missed;               /* ever: drops that a watcher asked for and was not told of, over `most` or the ring full */
    __u32 told;                 /* in this window */
    __u32 pad;
};

struct drop_event {
    __u64 time;                 /* nanoseconds of CLOCK_MONOTONIC */
    __u32 endpoint;             /* number of the port that it is counted at, 0: none is known */
    __u32 reason;               /* enum reason */
    __u32 rule;                 /* the Deny rule, where the reason is one; else 0 */
    __u32 ifindex;              /* of the interface at which the program met it */
    __u32 length;               /* of the frame, bytes */
    __u16 vlan;                 /* tag that the kernel took out of the frame (tci); 0: none */
    __u8 captured;              /* bytes of `frame` that are its beginning, as it was then */
    __u8 direction;             /* enum direction */
    __u8 frame[DROP_FRAME];
};

/*
 * --- `walk`: ARRAY of struct step, `dry`: ARRAY[1]: only in tap-explain.bpf.c, which no packet runs. -------------------
 * How a packet was decided, step by step; what `endpoint` and number[0..2] are stands beside each kind.
 */
enum step_kind {
    STEP_NONE = 0,
    STEP_TAP = 1,               /* endpoint: whose tap it came from; 0: flags */
    STEP_SENDER = 2,            /* endpoint may send from this address; 0: policy set of the address, 0 the endpoint's */
    STEP_RECEIVER = 3,          /* endpoint gets what is sent there; 0: nobody of this host */
    STEP_FLOW = 4,              /* 0: enum finding, 1: enum flow_state | enum flow_flag << 8, 2: rule that let it in */
    STEP_JUDGE = 5,             /* endpoint's rules are asked; 0: enum direction, 1: policy set */
    STEP_CLASS = 6,             /* 0: a class of the remote address, 1: 1 by its longest prefix, 0 by itself */
    STEP_PLANE = 7,             /* 0: number of the plane, 1: enum action, 2: rule, 0 when it was the plane's end */
    STEP_LOG = 8,               /* 0: rule that logs it */
    STEP_FREE = 9,              /* endpoint's port security is off: no rules; 0: enum direction */
    STEP_ROOM = 10,             /* endpoint owns the flow that opens; 0: 1 there is room, 1: entries that it has, 2: that could be had back */
    STEP_STATELESS = 11,        /* no flow is remembered */
    STEP_ROUTE = 12,            /* 0: what bpf_fib_lookup() says, 1: ifindex */
    STEP_TO_TAP = 13,           /* endpoint, 0: ifindex */
    STEP_TO_UPLINK = 14,        /* 0: ifindex */
    STEP_TO_STACK = 15,         /* endpoint, 0 not of this host: the kernel forwards it; 0: 1 its NAT has it */
    STEP_TO_HOST = 16,          /* for the host itself */
    STEP_DROP = 17,             /* endpoint at whose side it is counted; 0: enum reason */
    STEP_FROM_HOST = 18,        /* endpoint: whose tap the host sends to; 0: CONTROL_HOST_TO_GUEST where it may */
    STEP_FLOATING = 19,         /* to a floating IP of endpoint: judged as to the address that it stands for */
};

enum finding {
    FINDING_NONE = 0,           /* no entry */
    FINDING_CURRENT = 1,        /* known, and nothing has changed since it was judged */
    FINDING_STALE = 2,          /* known, to be judged again */
    FINDING_RENEWED = 3,        /* judged again and still allowed */
    FINDING_REVOKED = 4,        /* judged again and not allowed any more */
    FINDING_EXPIRED = 5,
    FINDING_OTHER_SENDER = 6,   /* an entry of the same addresses, whose sender is another endpoint */
    FINDING_NEW_CONNECTION = 7, /* a SYN that does not belong to what the entry remembers */
    FINDING_BUSY = 8,           /* the entry is being taken away at this moment */
};

struct step {
    __u32 kind;                 /* enum step_kind */
    __u32 endpoint;             /* number */
    __u32 number[3];
};

/* --- `name`: HASH, the agent's numbers and what they stand for; never read by the programs. -------------------- */
enum name_kind { NAME_ENDPOINT = 1, NAME_CLASS = 2, NAME_POLICY_SET = 3, NAME_RULE = 4, NAME_SOURCE_CLASS = 5 };

struct name_key {
    __u32 kind;                 /* enum name_kind */
    __u32 number;
};

struct name {
    __u8 digest[16];            /* first 16 bytes of SHA-256 of the full text */
    __u16 length;               /* bytes of text used; the text is UTF-8, cut at a character */
    __u8 text[NAME_TEXT];
    __u8 pad[6];
};
