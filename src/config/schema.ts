/**
 * Every setting, once: the types, the file's keys, TORBIE_* names, flags, --help and docs/configuration.md derive from this table.
 */
import { hostname } from "node:os";
import { DEFAULT_TIMEOUTS } from "../dataplane/bpf/images-control.js";
import {
  choice,
  etcdEndpoint,
  flag,
  integer,
  interfaceName,
  interfaceWord,
  list,
  listenAddress,
  optional,
  path,
  regionName,
  seconds,
  serviceAddress,
  text,
  type Kind,
} from "./kinds.js";

export interface Setting<T> {
  readonly kind: Kind<T>;
  /** A function where it depends on the machine; docs then say `fallbackText`. */
  readonly fallback: T | (() => T);
  readonly fallbackText?: string;
  readonly doc: string;
  readonly example: string;
}

const setting = <T>(
  of: Omit<Setting<T>, "fallback"> & { readonly fallback: NoInfer<T> | (() => NoInfer<T>) },
): Setting<T> => of;
/** `state`: of enum flow_state in bpf/abi.h. */
function timeout(state: string, of: string): Setting<number> {
  const fallback = DEFAULT_TIMEOUTS[state] ?? 60;
  return setting({
    kind: seconds(1, 2_000_000),
    fallback,
    doc: `How long a flow may be silent before its entry may go: ${of}.`,
    example: `${fallback}s`,
  });
}

export const SETTINGS = {
  hostname: setting({
    kind: text("text"),
    fallback: () => hostname(),
    fallbackText: "the machine's host name",
    doc: "This host as endpoints name it (node). Must equal Nova's and Neutron's host.",
    example: "compute-17",
  }),
  datastore: setting({
    kind: choice(["yaml", "etcd"], { etcdv3: 'Torbie calls it "etcd"' }),
    fallback: "yaml",
    doc: "Where endpoints and policies come from: a directory of YAML files, or etcd with Calico's data model.",
    example: "etcd",
  }),
  policyDir: setting({
    kind: path,
    fallback: "/etc/torbie/policy",
    doc: "The directory that datastore yaml reads and watches.",
    example: "/srv/torbie/policy",
  }),
  etcdEndpoints: setting({
    kind: list(etcdEndpoint),
    fallback: Object.freeze([]),
    doc: "Members of the etcd cluster, all http or all https. One is used at a time, the next when it fails.",
    example: "https://10.0.0.1:2379,https://10.0.0.2:2379",
  }),
  etcdCa: setting({
    kind: optional(path),
    fallback: "",
    doc: "File with the certificate authorities (PEM) that may vouch for etcd. Empty: the system's.",
    example: "/etc/torbie/etcd-ca.pem",
  }),
  etcdCert: setting({
    kind: optional(path),
    fallback: "",
    doc: "File with the certificate (PEM) that the agent shows to etcd.",
    example: "/etc/torbie/etcd-cert.pem",
  }),
  etcdKey: setting({
    kind: optional(path),
    fallback: "",
    doc: "File with the private key (PEM) of etcd-cert.",
    example: "/etc/torbie/etcd-key.pem",
  }),
  etcdUsername: setting({
    kind: optional(text("text")),
    fallback: "",
    doc: "User of etcd; it must be allowed to read /calico/.",
    example: "torbie",
  }),
  etcdPasswordFile: setting({
    kind: optional(path),
    fallback: "",
    doc: "File whose only line is that user's password; a password is never a setting itself.",
    example: "/etc/torbie/etcd-password",
  }),
  region: setting({
    kind: optional(regionName),
    fallback: "",
    doc: "This cloud's OpenStack region, where several share an etcd: openstack_region of the Neutron driver.",
    example: "north",
  }),
  dataplane: setting({
    kind: choice(["auto", "bpf", "iptables"]),
    fallback: "auto",
    doc: "What enforces. auto loads the programs, and takes iptables (with ip6tables, ipset and nft) where this machine or this process can't; `torbie status` says why. Another one than enforced before takes over from it without cutting connections.",
    example: "bpf",
  }),
  interfacePrefix: setting({
    kind: list(interfaceWord(14, false), 1),
    fallback: Object.freeze(["tap"]),
    doc: "Interfaces with such a name are guests' and pass nothing until an endpoint claims them. Bridged and enslaved ones are left alone.",
    example: "tap,vnet",
  }),
  interfaceExclude: setting({
    kind: list(interfaceWord(15, true)),
    fallback: Object.freeze([]),
    doc: "Interfaces that are not guests' although their name says so; a * at the end stands for any rest.",
    example: "tap-vpn,tapovs*",
  }),
  uplinks: setting({
    kind: list(interfaceName, 1),
    fallback: Object.freeze(["auto"]),
    doc: "Interfaces towards other hosts, or auto: those with a gateway route, followed live. Others are slower, never open.",
    example: "bond0,eth2",
  }),
  pinDir: setting({
    kind: path,
    fallback: "/sys/fs/bpf/torbie",
    doc: "Where maps, programs and links are pinned; must be in a BPF file system.",
    example: "/sys/fs/bpf/torbie",
  }),
  runDir: setting({
    kind: path,
    fallback: "/run/torbie",
    doc: "Where the running agent keeps its lock and status file.",
    example: "/run/torbie",
  }),
  stateDir: setting({
    kind: path,
    fallback: "/var/lib/torbie",
    doc: "Where the agent remembers across reboots which cluster it serves, and how far it had read.",
    example: "/var/lib/torbie",
  }),
  attach: setting({
    kind: choice(["auto", "clsact", "tcx"]),
    fallback: "auto",
    doc: "The hook on taps and uplinks. auto is clsact where the kernel has it, else tcx (24 ms a tap).",
    example: "clsact",
  }),
  guard: setting({
    kind: flag,
    fallback: true,
    doc: "A standing rule of the host that drops what passes a guest's interface without our program's mark, also while the agent is down.",
    example: "true",
  }),
  // The same as ROUTE_PROTOCOL in src/links/links.ts, whose reasons it has; a test compares them.
  routeProtocol: setting({
    kind: integer(5, 255),
    fallback: 116,
    doc: "Protocol number of Torbie's routes; it removes no route with another.",
    example: "116",
  }),
  routeMetric: setting({
    kind: integer(1, 2 ** 31 - 1),
    fallback: 1024,
    doc: "Metric of the guests' routes.",
    example: "1024",
  }),
  markShift: setting({
    kind: integer(0, 16),
    fallback: 0,
    doc: "The 16 bits of the packet mark that Torbie uses start at this one. Felix uses the upper 16.",
    example: "0",
  }),
  hostToGuest: setting({
    kind: flag,
    fallback: true,
    doc: "What the host itself sends to its guests (DHCP, metadata, a ping), and the answers, pass. Without it guests reach no service of the host but DHCP, which then can't answer.",
    example: "false",
  }),
  metadataAddress: setting({
    kind: serviceAddress(4),
    fallback: "127.0.0.1",
    doc: "Who answers on this host what guests ask of 169.254.169.254, port 80 (TCP), whatever their rules; none: nobody. Felix calls it MetadataAddr. Needs host-to-guest.",
    example: "10.0.0.7",
  }),
  metadataAddressIpv6: setting({
    kind: serviceAddress(6),
    fallback: "::",
    doc: "The same for [fe80::a9fe:a9fe]:80; :: is a service that listens on all addresses. A guest that asks by its link-local address is known to the service by its first fixed IPv6 address.",
    example: "none",
  }),
  metadataPort: setting({
    kind: integer(1, 65_535),
    fallback: 8775,
    doc: "Its port, as Felix's MetadataPort.",
    example: "8775",
  }),
  guestDns: setting({
    kind: flag,
    fallback: true,
    doc: "Guests reach port 53 (UDP and TCP) of this host's own addresses, whatever their rules: the DHCP agent's dnsmasq answers there. Needs host-to-guest.",
    example: "false",
  }),
  flows: setting({
    kind: integer(1024, 4_194_304),
    fallback: 262_144,
    doc: "Entries of the flow table. Takes effect when the maps are created: after torbie cleanup or a reboot.",
    example: "524288",
  }),
  remoteAddresses: setting({
    kind: integer(1024, 4_194_304),
    fallback: 262_144,
    doc: "How many addresses of endpoints on other hosts there is room for (16 bytes each here, 80 more each that is there). Takes effect when the maps are created.",
    example: "1048576",
  }),
  timeoutSynSent: timeout("FLOW_SYN_SENT", "TCP, opened and not answered"),
  timeoutEstablished: timeout("FLOW_ESTABLISHED", "TCP, established"),
  timeoutFin: timeout("FLOW_FIN", "TCP, one side has closed"),
  timeoutClosing: timeout("FLOW_CLOSING", "TCP, both sides have closed"),
  timeoutClosed: timeout("FLOW_CLOSED", "TCP, reset"),
  timeoutNew: timeout("FLOW_NEW", "UDP, one direction seen"),
  timeoutReplied: timeout("FLOW_REPLIED", "UDP, both directions seen"),
  timeoutIcmp: timeout("FLOW_ICMP", "a query of ICMP or ICMPv6"),
  timeoutOther: timeout("FLOW_OTHER", "any other protocol"),
  timeoutFragment: timeout("FLOW_FRAGMENT", "later fragments, after their first"),
  resync: setting({
    kind: seconds(5, 86_400),
    fallback: 60,
    doc: "How often the kernel's state is read back and compared in full.",
    example: "5m",
  }),
  status: setting({
    kind: flag,
    fallback: true,
    doc: "Tell etcd that this host's agent lives and how its ports are, as Felix does. Only with an etcd datastore.",
    example: "false",
  }),
  statusInterval: setting({
    kind: seconds(1, 3600),
    fallback: 30,
    doc: "How often the agent says that it lives.",
    example: "30s",
  }),
  statusTtl: setting({
    kind: seconds(2, 86_400),
    fallback: 90,
    doc: "How long that holds without being said again; longer than status-interval.",
    example: "90s",
  }),
  endpointStatus: setting({
    kind: choice(["auto", "on", "off"]),
    fallback: "auto",
    doc: "Whether ports are reported one by one; auto is what FelixConfiguration says (endpointReportingEnabled, off where it says nothing).",
    example: "on",
  }),
  healthAddress: setting({
    kind: listenAddress,
    fallback: "127.0.0.1:9199",
    doc: "Where /liveness and /readiness are answered over HTTP.",
    example: "off",
  }),
  metricsAddress: setting({
    kind: listenAddress,
    fallback: "127.0.0.1:9199",
    doc: "Where /metrics is answered for Prometheus; may be the same as health-address.",
    example: "192.0.2.10:9199",
  }),
  metricsPorts: setting({
    kind: integer(0, 10_000),
    fallback: 0,
    doc: "For how many ports /metrics has series of their own (flows, refused flows, drops); the busiest first, 0: none.",
    example: "200",
  }),
  logLevel: setting({
    kind: choice(["trace", "debug", "info", "warn", "error"]),
    fallback: "info",
    doc: "Least important line that is logged.",
    example: "debug",
  }),
  logFormat: setting({
    kind: choice(["json", "text"]),
    fallback: "json",
    doc: "json: one object a line (pino); text: for people.",
    example: "text",
  }),
} as const;

type Settings = typeof SETTINGS;
export type SettingKey = keyof Settings;
export type Config = { readonly [K in SettingKey]: Settings[K] extends Setting<infer T> ? T : never };
export const SETTING_KEYS = Object.keys(SETTINGS) as SettingKey[];

/** "interfacePrefix" -> "interface-prefix": the name in files, and of the flag after "--". */
export const fileKey = (key: SettingKey): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
/** "interfacePrefix" -> "TORBIE_INTERFACE_PREFIX". */
export const environmentKey = (key: SettingKey): string => `TORBIE_${fileKey(key).replaceAll("-", "_").toUpperCase()}`;

/** The row without its type parameter, for code that walks the table. */
export const row = (key: SettingKey): Setting<unknown> => SETTINGS[key] as unknown as Setting<unknown>;
/** The default as help and docs print it. */
export function fallbackText(key: SettingKey): string {
  const { fallback, fallbackText: said, kind } = row(key);
  return said ?? kind.format(typeof fallback === "function" ? (fallback as () => unknown)() : fallback);
}
