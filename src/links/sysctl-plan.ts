/** Which kernel settings routing through taps needs, in the order they must be written. Pure; meanings: Documentation/networking/ip-sysctl.rst. */
import { DataplaneError } from "../errors.js";

export interface Setting {
  /** Components under /proc/sys, each one directory or file name. */
  readonly path: readonly string[];
  readonly value: string;
  /** Written only where it has this value now. */
  readonly onlyFrom?: string;
}

export type Dataplane = "bpf" | "iptables";

/** Taken by the kernel for its own directories beside the interfaces'. */
const RESERVED = new Set(["all", "default", ".", ".."]);

/**
 * An interface's name as a directory name. The kernel refuses "/", ":" and white space in names and more than 15 bytes, so
 * only "all" and "default" can be both a device and something else in /proc/sys/net/ipv4/conf.
 * @throws DataplaneError BAD_INTERFACE_NAME
 */
export function interfaceDirectory(name: string): string {
  const bad = name === "" || RESERVED.has(name) || Buffer.byteLength(name) > 15 || /[\s/:\0]/.test(name);
  if (bad)
    throw new DataplaneError(
      "BAD_INTERFACE_NAME",
      `interface name ${JSON.stringify(name.slice(0, 200))} cannot stand in a path: its settings are left alone`,
    );
  return name;
}

const ipv4 = (name: string, key: string, value: string): Setting => ({
  path: ["net", "ipv4", "conf", name, key],
  value,
});
const ipv6 = (name: string, key: string, value: string): Setting => ({
  path: ["net", "ipv6", "conf", name, key],
  value,
});

/**
 * For one tap. rp_filter: the larger of this and conf/all counts, and 2 (loose) is the largest: a strict host stays usable for
 * addresses that several guests share, and sources are checked in BPF. send_redirects: redirects arise only where a packet
 * leaves by the tap it came by, so conf/all = 1, the kernel's default, does no harm worth touching a global setting for.
 * accept_redirects comes after forwarding, since a forwarding interface needs it set in conf/all as well (it is off then).
 * arp_ignore and addr_gen_mode are nobody's business here.
 * @param localnet the metadata service listens on 127.0.0.0/8: the kernel is to take what NAT sends there
 */
export function tapSettings(tap: string, dataplane: Dataplane = "bpf", localnet = false): Setting[] {
  const name = interfaceDirectory(tap);
  const bpf = dataplane === "bpf";
  return [
    ipv4(name, "forwarding", "1"),
    // Behind iptables every packet passes here, after its source was looked up: a second look costs as much again.
    ipv4(name, "rp_filter", bpf ? "2" : "0"),
    ...(bpf ? [] : [ipv4(name, "accept_source_route", "0")]),
    ...(localnet ? [ipv4(name, "route_localnet", "1")] : []),
    ipv4(name, "send_redirects", "0"),
    ipv4(name, "accept_redirects", "0"),
    ipv4(name, "proxy_arp", "0"),
    ipv6(name, "accept_ra", "0"),
    ipv6(name, "accept_redirects", "0"),
    ipv6(name, "proxy_ndp", "0"),
    ipv6(name, "forwarding", "1"),
  ];
}

/**
 * For the host. An interface that forwards ignores router advertisements unless accept_ra is 2, so an uplink that took them
 * so far (accept_ra 1, not forwarding) gets that BEFORE forwarding goes on, or it would lose its default route.
 * nf_conntrack_tcp_be_liberal: the programs look at no sequence numbers, and a connection that was handed over to the kernel's
 * tracking has no windows there; a segment outside of one would be judged as a first packet. nf_conntrack_checksum: whoever receives a
 * packet looks at its checksum, the programs do not either; and the kernel takes every right one of UDP-Lite for wrong
 * (nf_conntrack_proto_udp.c asks for UDP's pseudo-header), so that no answer would be known.
 * @param hearing uplinks that take router advertisements now
 */
export function hostSettings(hearing: readonly string[], dataplane: Dataplane = "bpf"): Setting[] {
  return [
    ...(dataplane === "bpf"
      ? []
      : [
          { path: ["net", "netfilter", "nf_conntrack_tcp_be_liberal"], value: "1" },
          { path: ["net", "netfilter", "nf_conntrack_checksum"], value: "0" },
        ]),
    ...hearing.map((name) => ({ ...ipv6(interfaceDirectory(name), "accept_ra", "2"), onlyFrom: "1" })),
    { path: ["net", "ipv6", "conf", "all", "forwarding"], value: "1" },
    { path: ["net", "ipv4", "ip_forward"], value: "1" },
  ];
}
