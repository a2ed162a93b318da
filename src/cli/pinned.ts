/** What reading commands need of the pinned maps; src/cli/open-pinned.ts makes it from src/dataplane/bpf/read.ts. Numbers as bpf/abi.h. */

export interface PinnedEndpoint {
  readonly number: number;
  /** "openstack/<WorkloadEndpoint name>"; "" when its name is not there. */
  readonly id: string;
  /** 0: its tap is not there. */
  readonly ifindex: number;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
  readonly adminDown: boolean;
  readonly noPortSecurity: boolean;
  readonly blocked: boolean;
  /** 0: nothing is allowed. */
  readonly policySet: number;
}

/** Where an endpoint may send from. */
export interface PinnedSource {
  readonly prefix: string;
  /** Absent: the endpoint's own. */
  readonly mac?: string;
}

export interface PinnedDrop {
  /** Name as in bpf/abi.h, and the sentence. */
  readonly reason: string;
  readonly sentence: string;
  readonly count: bigint;
  /** ARP and ND that needs no answer. */
  readonly harmless: boolean;
}

export interface PinnedFlows {
  readonly count: number;
  readonly halfOpen: number;
  readonly opened: number;
  readonly refused: number;
}

export interface PinnedRule {
  readonly number: number;
  /** "<policy id>/<ingress|egress>/<index>". */
  readonly key: string;
  readonly direction: "ingress" | "egress";
  /** Order of evaluation: plane, then order within it. */
  readonly plane: number;
  readonly order: number;
  readonly action: "allow" | "deny" | "pass" | "log";
  readonly stateless: boolean;
  readonly families: readonly (4 | 6)[];
  /** IANA number; absent: any. */
  readonly protocols?: readonly number[];
  /** Class in words: "any", a selector, a prefix. */
  readonly remote: string;
  /** Destination ports, or ICMP type << 8 | code; absent: any. */
  readonly ports?: readonly { readonly first: number; readonly last: number }[];
  /** First packets (and packets of stateless rules) that it decided. */
  readonly hits: bigint;
}

export interface PinnedPlane {
  readonly direction: "ingress" | "egress";
  readonly number: number;
  /** When no rule of it matched. */
  readonly end: "deny" | "pass" | "allow";
}

export interface PinnedState {
  /** Present ones, by number. */
  endpoints(): readonly PinnedEndpoint[];
  /** "<policy>, <policy>" or whatever names the set; "" unknown. */
  setName(policySet: number): string;
  sources(endpoint: number): readonly PinnedSource[];
  /** Of an endpoint; 0: packets of no known endpoint. Only those that occurred. */
  drops(endpoint: number): readonly PinnedDrop[];
  flows(endpoint: number): PinnedFlows;
  rules(policySet: number): readonly PinnedRule[];
  planes(policySet: number): readonly PinnedPlane[];
  /** Flow entries in use and the table's size. */
  pool(): { readonly used: number; readonly limit: number };
  close(): void;
}
