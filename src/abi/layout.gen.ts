/* Made by src/abi/generate.ts from the BTF of build/tap.bpf.o (bpf/abi.h, bpf/maps.h). Do not edit: run `make generate`. */

export const STRUCTS = {
  account: {
    size: 32,
    fields: {
      lock: { offset: 0, kind: "bpf_spin_lock" },
      head: { offset: 4, kind: "u32" },
      hand: { offset: 8, kind: "u32" },
      hand_previous: { offset: 12, kind: "u32" },
      count: { offset: 16, kind: "u32" },
      half_open: { offset: 20, kind: "u32" },
      opened: { offset: 24, kind: "u32" },
      refused: { offset: 28, kind: "u32" },
    },
  },
  address: {
    size: 16,
    fields: {
      word: { offset: 0, kind: "u32", length: 4 },
    },
  },
  classes: {
    size: 32,
    fields: {
      number: { offset: 0, kind: "u32", length: 7 },
      count: { offset: 28, kind: "u8" },
      flags: { offset: 29, kind: "u8" },
      pad: { offset: 30, kind: "u16" },
    },
  },
  control: {
    size: 96,
    fields: {
      generation: { offset: 0, kind: "u32" },
      endpoint_limit: { offset: 4, kind: "u32" },
      guaranteed: { offset: 8, kind: "u32" },
      reserve: { offset: 12, kind: "u32" },
      port_limit: { offset: 16, kind: "u32" },
      flow_limit: { offset: 20, kind: "u32" },
      flags: { offset: 24, kind: "u32" },
      pad: { offset: 28, kind: "u32" },
      timeout: { offset: 32, kind: "u32", length: 16 },
    },
  },
  endpoint: {
    size: 52,
    fields: {
      ifindex: { offset: 0, kind: "u32" },
      generation: { offset: 4, kind: "u32" },
      policy_set: { offset: 8, kind: "u32" },
      flags: { offset: 12, kind: "u32" },
      mtu: { offset: 16, kind: "u32" },
      mark: { offset: 20, kind: "u16" },
      mac: { offset: 22, kind: "u8", length: 6 },
      host_mac: { offset: 28, kind: "u8", length: 6 },
      pad: { offset: 34, kind: "u16" },
      pad2: { offset: 36, kind: "u32", length: 4 },
    },
  },
  event: {
    size: 56,
    fields: {
      kind: { offset: 0, kind: "u32" },
      endpoint: { offset: 4, kind: "u32" },
      rule: { offset: 8, kind: "u32" },
      direction: { offset: 12, kind: "u8" },
      protocol: { offset: 13, kind: "u8" },
      family: { offset: 14, kind: "u8" },
      action: { offset: 15, kind: "u8" },
      source: { offset: 16, kind: "address" },
      destination: { offset: 32, kind: "address" },
      source_port: { offset: 48, kind: "u16" },
      destination_port: { offset: 50, kind: "u16" },
      length: { offset: 52, kind: "u32" },
    },
  },
  flow: {
    size: 72,
    fields: {
      endpoint: { offset: 0, kind: "u16", length: 2 },
      state: { offset: 4, kind: "u8" },
      flags: { offset: 5, kind: "u8" },
      tag: { offset: 6, kind: "u16" },
      generation: { offset: 8, kind: "u32", length: 2 },
      host_generation: { offset: 16, kind: "u32" },
      rule: { offset: 20, kind: "u32" },
      slot: { offset: 24, kind: "u32" },
      last_seen: { offset: 28, kind: "u32" },
      packets: { offset: 32, kind: "u64", length: 2 },
      bytes: { offset: 48, kind: "u64", length: 2 },
      lock: { offset: 64, kind: "bpf_spin_lock" },
      pad: { offset: 68, kind: "u32" },
    },
  },
  flow_key: {
    size: 40,
    fields: {
      address: { offset: 0, kind: "address", length: 2 },
      port: { offset: 32, kind: "u16", length: 2 },
      protocol: { offset: 36, kind: "u8" },
      family: { offset: 37, kind: "u8" },
      asker: { offset: 38, kind: "u16" },
    },
  },
  flow_slot: {
    size: 48,
    fields: {
      key: { offset: 0, kind: "flow_key" },
      next: { offset: 40, kind: "u32" },
      owner: { offset: 44, kind: "u16" },
      half_open: { offset: 46, kind: "u16" },
    },
  },
  fragment: {
    size: 24,
    fields: {
      endpoint: { offset: 0, kind: "u32" },
      generation: { offset: 4, kind: "u32" },
      host_generation: { offset: 8, kind: "u32" },
      seen: { offset: 12, kind: "u32" },
      peer_generation: { offset: 16, kind: "u32" },
      flags: { offset: 20, kind: "u16" },
      least: { offset: 22, kind: "u16" },
    },
  },
  fragment_key: {
    size: 40,
    fields: {
      source: { offset: 0, kind: "address" },
      destination: { offset: 16, kind: "address" },
      id: { offset: 32, kind: "u32" },
      protocol: { offset: 36, kind: "u8" },
      family: { offset: 37, kind: "u8" },
      endpoint: { offset: 38, kind: "u16" },
    },
  },
  local: {
    size: 16,
    fields: {
      endpoint: { offset: 0, kind: "u32" },
      policy_set: { offset: 4, kind: "u32" },
      mac: { offset: 8, kind: "u8", length: 6 },
      flags: { offset: 14, kind: "u8" },
      pad: { offset: 15, kind: "u8" },
    },
  },
  members: {
    size: 512,
    fields: {
      list: { offset: 0, kind: "u16", length: 256 },
    },
  },
  name: {
    size: 256,
    fields: {
      digest: { offset: 0, kind: "u8", length: 16 },
      length: { offset: 16, kind: "u16" },
      text: { offset: 18, kind: "u8", length: 232 },
      pad: { offset: 250, kind: "u8", length: 6 },
    },
  },
  name_key: {
    size: 8,
    fields: {
      kind: { offset: 0, kind: "u32" },
      number: { offset: 4, kind: "u32" },
    },
  },
  plane: {
    size: 48,
    fields: {
      lengths: { offset: 0, kind: "u32", length: 8 },
      source_lengths: { offset: 32, kind: "u32" },
      everything: { offset: 36, kind: "u32", length: 2 },
      end: { offset: 44, kind: "u8" },
      flags: { offset: 45, kind: "u8" },
      pad: { offset: 46, kind: "u16" },
    },
  },
  plane_key: {
    size: 8,
    fields: {
      policy_set: { offset: 0, kind: "u32" },
      direction: { offset: 4, kind: "u8" },
      number: { offset: 5, kind: "u8" },
      pad: { offset: 6, kind: "u16" },
    },
  },
  policy_entry: {
    size: 12,
    fields: {
      order: { offset: 0, kind: "u32" },
      rule: { offset: 4, kind: "u32" },
      action: { offset: 8, kind: "u8" },
      flags: { offset: 9, kind: "u8" },
      pad: { offset: 10, kind: "u16" },
    },
  },
  policy_key: {
    size: 16,
    fields: {
      policy_set: { offset: 0, kind: "u32" },
      class: { offset: 4, kind: "u32" },
      port: { offset: 8, kind: "u16" },
      source_class: { offset: 10, kind: "u16" },
      length: { offset: 12, kind: "u8" },
      protocol: { offset: 13, kind: "u8" },
      plane: { offset: 14, kind: "u8" },
      way: { offset: 15, kind: "u8" },
    },
  },
  pool: {
    size: 16,
    fields: {
      used: { offset: 0, kind: "u64" },
      hand: { offset: 8, kind: "u32" },
      pad: { offset: 12, kind: "u32" },
    },
  },
  prefix_key: {
    size: 20,
    fields: {
      prefixlen: { offset: 0, kind: "u32" },
      address: { offset: 4, kind: "address" },
    },
  },
  source: {
    size: 12,
    fields: {
      policy_set: { offset: 0, kind: "u32" },
      mac: { offset: 4, kind: "u8", length: 6 },
      pad: { offset: 10, kind: "u16" },
    },
  },
  source_key: {
    size: 24,
    fields: {
      prefixlen: { offset: 0, kind: "u32" },
      endpoint: { offset: 4, kind: "u32" },
      address: { offset: 8, kind: "address" },
    },
  },
  step: {
    size: 20,
    fields: {
      kind: { offset: 0, kind: "u32" },
      endpoint: { offset: 4, kind: "u32" },
      number: { offset: 8, kind: "u32", length: 3 },
    },
  },
  tap_slot: {
    size: 8,
    fields: {
      ifindex: { offset: 0, kind: "u32" },
      endpoint: { offset: 4, kind: "u32" },
    },
  },
} as const;

export const MAPS = {
  account: {
    type: 2,
    maxEntries: 8192,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 32,
    value: "account",
  },
  block: {
    type: 1,
    maxEntries: 4096,
    flags: 1,
    keySize: 4,
    key: "u32",
    valueSize: 4,
    value: "u32",
  },
  class_list: {
    type: 2,
    maxEntries: 16384,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 32,
    value: "classes",
  },
  control: {
    type: 2,
    maxEntries: 1,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 96,
    value: "control",
  },
  drop: {
    type: 2,
    maxEntries: 524288,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 8,
    value: "u64",
  },
  endpoint: {
    type: 2,
    maxEntries: 8192,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 52,
    value: "endpoint",
  },
  event: {
    type: 27,
    maxEntries: 262144,
    flags: 0,
    keySize: 0,
    key: "none",
    valueSize: 0,
    value: "none",
  },
  flow: {
    type: 1,
    maxEntries: 262144,
    flags: 0,
    keySize: 40,
    key: "flow_key",
    valueSize: 72,
    value: "flow",
  },
  flow_free: {
    type: 22,
    maxEntries: 262144,
    flags: 0,
    keySize: 0,
    key: "none",
    valueSize: 4,
    value: "u32",
  },
  flow_slot: {
    type: 2,
    maxEntries: 262144,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 48,
    value: "flow_slot",
  },
  fragment: {
    type: 9,
    maxEntries: 8192,
    flags: 0,
    keySize: 40,
    key: "fragment_key",
    valueSize: 24,
    value: "fragment",
  },
  local: {
    type: 1,
    maxEntries: 65536,
    flags: 1,
    keySize: 16,
    key: "address",
    valueSize: 16,
    value: "local",
  },
  local_prefix: {
    type: 11,
    maxEntries: 16384,
    flags: 1,
    keySize: 20,
    key: "prefix_key",
    valueSize: 16,
    value: "local",
  },
  member: {
    type: 2,
    maxEntries: 4096,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 512,
    value: "members",
  },
  name: {
    type: 1,
    maxEntries: 262144,
    flags: 1,
    keySize: 8,
    key: "name_key",
    valueSize: 256,
    value: "name",
  },
  plane: {
    type: 1,
    maxEntries: 32768,
    flags: 1,
    keySize: 8,
    key: "plane_key",
    valueSize: 48,
    value: "plane",
  },
  policy: {
    type: 1,
    maxEntries: 524288,
    flags: 1,
    keySize: 16,
    key: "policy_key",
    valueSize: 12,
    value: "policy_entry",
  },
  pool: {
    type: 2,
    maxEntries: 1,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 16,
    value: "pool",
  },
  prefix: {
    type: 11,
    maxEntries: 1048576,
    flags: 1,
    keySize: 20,
    key: "prefix_key",
    valueSize: 32,
    value: "classes",
  },
  remote: {
    type: 1,
    maxEntries: 524288,
    flags: 1,
    keySize: 16,
    key: "address",
    valueSize: 32,
    value: "classes",
  },
  rule_hit: {
    type: 2,
    maxEntries: 131072,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 8,
    value: "u64",
  },
  source: {
    type: 11,
    maxEntries: 65536,
    flags: 1,
    keySize: 24,
    key: "source_key",
    valueSize: 12,
    value: "source",
  },
  tap: {
    type: 1,
    maxEntries: 16384,
    flags: 1,
    keySize: 4,
    key: "u32",
    valueSize: 4,
    value: "u32",
  },
  tap_slot: {
    type: 2,
    maxEntries: 16384,
    flags: 0,
    keySize: 4,
    key: "u32",
    valueSize: 8,
    value: "tap_slot",
  },
  uplink: {
    type: 1,
    maxEntries: 256,
    flags: 1,
    keySize: 4,
    key: "u32",
    valueSize: 4,
    value: "u32",
  },
} as const;

export const Limits = {
  MAX_ENDPOINTS: 8192,
  MAX_TAPS: 16384,
  MAX_FLOWS: 262144,
  MAX_RULES: 131072,
  MAX_REASONS: 64,
  MAX_PLANES: 16,
  CLASSES_PER_ADDRESS: 7,
  MAX_BLOCKS: 4096,
  MAX_CLASS_LISTS: 16384,
  NAME_TEXT: 232,
  MAX_STEPS: 128,
} as const;
export const LimitsNames: Readonly<Record<number, string>> = {
  7: "CLASSES_PER_ADDRESS",
  16: "MAX_PLANES",
  64: "MAX_REASONS",
  128: "MAX_STEPS",
  232: "NAME_TEXT",
  4096: "MAX_BLOCKS",
  8192: "MAX_ENDPOINTS",
  16384: "MAX_TAPS",
  131072: "MAX_RULES",
  262144: "MAX_FLOWS",
};

export const ClassNumber = {
  CLASS_NONE: 0,
  CLASS_ANY: 1,
  CLASS_FIRST: 16,
  CLASS_SOURCE_PORT: 2147483647,
} as const;
export const ClassNumberNames: Readonly<Record<number, string>> = {
  0: "CLASS_NONE",
  1: "CLASS_ANY",
  16: "CLASS_FIRST",
  2147483647: "CLASS_SOURCE_PORT",
};

export const Direction = {
  INGRESS: 0,
  EGRESS: 1,
} as const;
export const DirectionNames: Readonly<Record<number, string>> = {
  0: "INGRESS",
  1: "EGRESS",
};

export const Action = {
  ACTION_NONE: 0,
  ACTION_ALLOW: 1,
  ACTION_DENY: 2,
  ACTION_PASS: 3,
} as const;
export const ActionNames: Readonly<Record<number, string>> = {
  0: "ACTION_NONE",
  1: "ACTION_ALLOW",
  2: "ACTION_DENY",
  3: "ACTION_PASS",
};

export const ProtocolGroup = {
  GROUP_TCP: 0,
  GROUP_UDP: 1,
  GROUP_ICMP: 2,
  GROUP_ICMPV6: 3,
  GROUP_SCTP: 4,
  GROUP_UDPLITE: 5,
  GROUP_DCCP: 6,
  GROUP_OTHER: 7,
  PROTOCOL_GROUPS: 8,
} as const;
export const ProtocolGroupNames: Readonly<Record<number, string>> = {
  0: "GROUP_TCP",
  1: "GROUP_UDP",
  2: "GROUP_ICMP",
  3: "GROUP_ICMPV6",
  4: "GROUP_SCTP",
  5: "GROUP_UDPLITE",
  6: "GROUP_DCCP",
  7: "GROUP_OTHER",
  8: "PROTOCOL_GROUPS",
};

export const FlowState = {
  FLOW_DEAD: 0,
  FLOW_NEW: 1,
  FLOW_REPLIED: 2,
  FLOW_SYN_SENT: 3,
  FLOW_ESTABLISHED: 4,
  FLOW_CLOSING: 5,
  FLOW_CLOSED: 6,
  FLOW_ICMP: 7,
  FLOW_FIN: 8,
  FLOW_OTHER: 9,
  FLOW_FRAGMENT: 10,
  FLOW_STATES: 16,
} as const;
export const FlowStateNames: Readonly<Record<number, string>> = {
  0: "FLOW_DEAD",
  1: "FLOW_NEW",
  2: "FLOW_REPLIED",
  3: "FLOW_SYN_SENT",
  4: "FLOW_ESTABLISHED",
  5: "FLOW_CLOSING",
  6: "FLOW_CLOSED",
  7: "FLOW_ICMP",
  8: "FLOW_FIN",
  9: "FLOW_OTHER",
  10: "FLOW_FRAGMENT",
  16: "FLOW_STATES",
};

export const ControlFlag = {
  CONTROL_LOCAL_PREFIXES: 1,
  CONTROL_PREFIXES: 2,
  CONTROL_HOST_TO_GUEST: 4,
  CONTROL_METADATA_IPV4: 8,
  CONTROL_METADATA_IPV6: 16,
  CONTROL_NAMES: 32,
} as const;
export const ControlFlagNames: Readonly<Record<number, string>> = {
  1: "CONTROL_LOCAL_PREFIXES",
  2: "CONTROL_PREFIXES",
  4: "CONTROL_HOST_TO_GUEST",
  8: "CONTROL_METADATA_IPV4",
  16: "CONTROL_METADATA_IPV6",
  32: "CONTROL_NAMES",
};

export const EndpointFlag = {
  ENDPOINT_PRESENT: 1,
  ENDPOINT_ADMIN_DOWN: 2,
  ENDPOINT_NO_PORT_SECURITY: 4,
  ENDPOINT_BLOCKED: 8,
} as const;
export const EndpointFlagNames: Readonly<Record<number, string>> = {
  1: "ENDPOINT_PRESENT",
  2: "ENDPOINT_ADMIN_DOWN",
  4: "ENDPOINT_NO_PORT_SECURITY",
  8: "ENDPOINT_BLOCKED",
};

export const LocalFlag = {
  LOCAL_SHARED: 1,
  LOCAL_REMOTE_TOO: 2,
} as const;
export const LocalFlagNames: Readonly<Record<number, string>> = {
  1: "LOCAL_SHARED",
  2: "LOCAL_REMOTE_TOO",
};

export const ClassesFlag = {
  CLASSES_COMPLETE: 1,
} as const;
export const ClassesFlagNames: Readonly<Record<number, string>> = {
  1: "CLASSES_COMPLETE",
};

export const PlaneFlag = {
  PLANE_ALLOW_ONLY: 1,
  PLANE_ANY_PROTOCOL: 2,
  PLANE_SOURCE_PORTS: 4,
  PLANE_LOG: 8,
  PLANE_ANY_CLASS: 16,
} as const;
export const PlaneFlagNames: Readonly<Record<number, string>> = {
  1: "PLANE_ALLOW_ONLY",
  2: "PLANE_ANY_PROTOCOL",
  4: "PLANE_SOURCE_PORTS",
  8: "PLANE_LOG",
  16: "PLANE_ANY_CLASS",
};

export const EntryFlag = {
  ENTRY_STATELESS: 1,
} as const;
export const EntryFlagNames: Readonly<Record<number, string>> = {
  1: "ENTRY_STATELESS",
};

export const FlowFlag = {
  FLOW_OPENER_HI: 1,
  FLOW_STATELESS_LO: 2,
  FLOW_STATELESS_HI: 4,
  FLOW_HOST: 8,
  FLOW_FIN_LO: 16,
  FLOW_FIN_HI: 32,
  FLOW_HALF_OPEN: 64,
  FLOW_PAIR_MAC: 128,
} as const;
export const FlowFlagNames: Readonly<Record<number, string>> = {
  1: "FLOW_OPENER_HI",
  2: "FLOW_STATELESS_LO",
  4: "FLOW_STATELESS_HI",
  8: "FLOW_HOST",
  16: "FLOW_FIN_LO",
  32: "FLOW_FIN_HI",
  64: "FLOW_HALF_OPEN",
  128: "FLOW_PAIR_MAC",
};

export const Reason = {
  REASON_NONE: 0,
  NO_ENDPOINT: 1,
  ADMIN_DOWN: 2,
  ENDPOINT_IS_BLOCKED: 3,
  MALFORMED: 4,
  UNKNOWN_ETHERTYPE: 5,
  VLAN_TAGGED: 6,
  WRONG_DESTINATION_MAC: 7,
  SPOOFED_MAC: 8,
  SPOOFED_ADDRESS: 9,
  SPOOFED_ARP: 10,
  SPOOFED_ND: 11,
  LINK_LOCAL: 12,
  MULTICAST: 13,
  MARTIAN: 14,
  SOURCE_ROUTE: 15,
  DHCP_SERVER: 16,
  ROUTER_ADVERTISEMENT: 17,
  CHECKSUM_METADATA: 18,
  POLICY_EGRESS: 19,
  POLICY_INGRESS: 20,
  DENIED_EGRESS: 21,
  DENIED_INGRESS: 22,
  POLICY_MISSING: 23,
  FRAGMENT_WITHOUT_FIRST: 24,
  FRAGMENT_TINY: 25,
  EXTENSION_HEADERS: 26,
  FLOW_TABLE_FULL: 27,
  ICMP_ERROR_UNRELATED: 28,
  ICMP_ERROR_ABOUT_ERROR: 29,
  HOST_UNREACHABLE_TO_GUEST: 30,
  NO_ROUTE: 31,
  UPLINK_SPOOFED: 32,
  RECEIVER_GONE: 33,
  RECEIVER_DOWN: 34,
  ARP_ABSORBED: 35,
  ND_ABSORBED: 36,
  UNSPECIFIED_SOURCE: 37,
  SELF: 38,
  FLOW_RACE: 39,
  HOST_TO_GUEST_OFF: 40,
  ROUTING_LOOP: 41,
  REASONS: 42,
} as const;
export const ReasonNames: Readonly<Record<number, string>> = {
  0: "REASON_NONE",
  1: "NO_ENDPOINT",
  2: "ADMIN_DOWN",
  3: "ENDPOINT_IS_BLOCKED",
  4: "MALFORMED",
  5: "UNKNOWN_ETHERTYPE",
  6: "VLAN_TAGGED",
  7: "WRONG_DESTINATION_MAC",
  8: "SPOOFED_MAC",
  9: "SPOOFED_ADDRESS",
  10: "SPOOFED_ARP",
  11: "SPOOFED_ND",
  12: "LINK_LOCAL",
  13: "MULTICAST",
  14: "MARTIAN",
  15: "SOURCE_ROUTE",
  16: "DHCP_SERVER",
  17: "ROUTER_ADVERTISEMENT",
  18: "CHECKSUM_METADATA",
  19: "POLICY_EGRESS",
  20: "POLICY_INGRESS",
  21: "DENIED_EGRESS",
  22: "DENIED_INGRESS",
  23: "POLICY_MISSING",
  24: "FRAGMENT_WITHOUT_FIRST",
  25: "FRAGMENT_TINY",
  26: "EXTENSION_HEADERS",
  27: "FLOW_TABLE_FULL",
  28: "ICMP_ERROR_UNRELATED",
  29: "ICMP_ERROR_ABOUT_ERROR",
  30: "HOST_UNREACHABLE_TO_GUEST",
  31: "NO_ROUTE",
  32: "UPLINK_SPOOFED",
  33: "RECEIVER_GONE",
  34: "RECEIVER_DOWN",
  35: "ARP_ABSORBED",
  36: "ND_ABSORBED",
  37: "UNSPECIFIED_SOURCE",
  38: "SELF",
  39: "FLOW_RACE",
  40: "HOST_TO_GUEST_OFF",
  41: "ROUTING_LOOP",
  42: "REASONS",
};

export const Mark = {
  MARK_JUDGED: 32768,
  MARK_HOST: 16384,
  MARK_NUMBER: 16383,
  MARK_ALL: 65535,
} as const;
export const MarkNames: Readonly<Record<number, string>> = {
  16383: "MARK_NUMBER",
  16384: "MARK_HOST",
  32768: "MARK_JUDGED",
  65535: "MARK_ALL",
};

export const EventKind = {
  EVENT_LOG: 1,
} as const;
export const EventKindNames: Readonly<Record<number, string>> = {
  1: "EVENT_LOG",
};

export const NameKind = {
  NAME_ENDPOINT: 1,
  NAME_CLASS: 2,
  NAME_POLICY_SET: 3,
  NAME_RULE: 4,
  NAME_SOURCE_CLASS: 5,
} as const;
export const NameKindNames: Readonly<Record<number, string>> = {
  1: "NAME_ENDPOINT",
  2: "NAME_CLASS",
  3: "NAME_POLICY_SET",
  4: "NAME_RULE",
  5: "NAME_SOURCE_CLASS",
};

export const StepKind = {
  STEP_NONE: 0,
  STEP_TAP: 1,
  STEP_SENDER: 2,
  STEP_RECEIVER: 3,
  STEP_FLOW: 4,
  STEP_JUDGE: 5,
  STEP_CLASS: 6,
  STEP_PLANE: 7,
  STEP_LOG: 8,
  STEP_FREE: 9,
  STEP_ROOM: 10,
  STEP_STATELESS: 11,
  STEP_ROUTE: 12,
  STEP_TO_TAP: 13,
  STEP_TO_UPLINK: 14,
  STEP_TO_STACK: 15,
  STEP_TO_HOST: 16,
  STEP_DROP: 17,
  STEP_FROM_HOST: 18,
} as const;
export const StepKindNames: Readonly<Record<number, string>> = {
  0: "STEP_NONE",
  1: "STEP_TAP",
  2: "STEP_SENDER",
  3: "STEP_RECEIVER",
  4: "STEP_FLOW",
  5: "STEP_JUDGE",
  6: "STEP_CLASS",
  7: "STEP_PLANE",
  8: "STEP_LOG",
  9: "STEP_FREE",
  10: "STEP_ROOM",
  11: "STEP_STATELESS",
  12: "STEP_ROUTE",
  13: "STEP_TO_TAP",
  14: "STEP_TO_UPLINK",
  15: "STEP_TO_STACK",
  16: "STEP_TO_HOST",
  17: "STEP_DROP",
  18: "STEP_FROM_HOST",
};

export const Finding = {
  FINDING_NONE: 0,
  FINDING_CURRENT: 1,
  FINDING_STALE: 2,
  FINDING_RENEWED: 3,
  FINDING_REVOKED: 4,
  FINDING_EXPIRED: 5,
  FINDING_OTHER_SENDER: 6,
  FINDING_NEW_CONNECTION: 7,
  FINDING_BUSY: 8,
} as const;
export const FindingNames: Readonly<Record<number, string>> = {
  0: "FINDING_NONE",
  1: "FINDING_CURRENT",
  2: "FINDING_STALE",
  3: "FINDING_RENEWED",
  4: "FINDING_REVOKED",
  5: "FINDING_EXPIRED",
  6: "FINDING_OTHER_SENDER",
  7: "FINDING_NEW_CONNECTION",
  8: "FINDING_BUSY",
};
