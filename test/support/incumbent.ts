/**
 * What Felix would have in the kernel of a host, made from etcd's contents as reference/felix.md §2 and §3 describe it: its chains by tap,
 * policy and hook, sets of members, routes, neighbours, settings. It really enforces. What Torbie needs no knowledge of (host endpoints'
 * rules, failsafes) is left empty.
 */
import { createHash } from "node:crypto";
import type { Namespace } from "../../src/demo/world/namespace.js";
import type { Pair } from "./recorded.js";

type Family = 4 | 6;
type Entity = {
  readonly nets?: readonly string[];
  readonly selector?: string;
  readonly ports?: readonly (number | string)[];
};
interface Rule {
  readonly action: string;
  readonly ipVersion?: Family;
  readonly protocol?: string | number;
  readonly icmp?: { readonly type: number; readonly code?: number };
  readonly source?: Entity;
  readonly destination?: Entity;
}
interface Policy {
  readonly name: string;
  readonly selector: string;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}
interface Endpoint {
  readonly node: string;
  readonly tap: string;
  readonly mac: string;
  readonly networks: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

const ACCEPT = "0x10000/0x10000";
const PASS = "0x0/0x20000";
const hash = (text: string, length = 16): string =>
  createHash("sha256").update(text).digest("base64url").slice(0, length);
/** At most 28 characters. */
const chainName = (prefix: string, id: string): string =>
  prefix.length + id.length <= 28 ? prefix + id : `${prefix}_${hash(id, 27 - prefix.length)}`;
const isOf = (address: string, of: Family): boolean => address.includes(":") === (of === 6);
const setName = (selector: string, of: Family): string => `cali${of}0s:${hash(selector, 22)}`;

interface Wrapped {
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
  readonly spec: Record<string, unknown>;
}

function read(pairs: readonly Pair[]): { endpoints: Endpoint[]; policies: Policy[] } {
  const all = (kind: string): Wrapped[] =>
    pairs.filter(({ key }) => key.includes(`/${kind}/`)).map(({ value }) => JSON.parse(value) as Wrapped);
  const endpoints = all("workloadendpoints").map(({ metadata, spec }) => ({
    node: String(spec["node"]),
    tap: String(spec["interfaceName"]),
    mac: String(spec["mac"]),
    networks: spec["ipNetworks"] as string[],
    labels: metadata.labels ?? {},
  }));
  const policies = all("networkpolicies").map(({ metadata, spec }) => ({
    name: metadata.name,
    selector: String(spec["selector"]),
    ingress: (spec["ingress"] ?? []) as Rule[],
    egress: (spec["egress"] ?? []) as Rule[],
  }));
  return { endpoints, policies };
}

/** Of the one form that the driver writes. */
const matches = (selector: string, { labels }: Endpoint): boolean =>
  (/^has\((.+)\)$/.exec(selector)?.[1] ?? "") in labels;

/** A chain's rules, each with its hash as the comment that says whose it is. */
class Table {
  readonly chains = new Map<string, string[]>();
  readonly hooks: string[] = [];

  constructor(readonly name: string) {}

  chain(name: string, ...rules: readonly string[]): void {
    this.chains.set(name, [...(this.chains.get(name) ?? []), ...rules]);
  }

  text(): string {
    const comment = (rule: string, at: string): string => {
      const [, head = "", target = rule] = /^(.*?)(-[jg] .*)$/.exec(rule) ?? [];
      return `${head}-m comment --comment "cali:${hash(`${this.name} ${at} ${rule}`)}" ${target}`;
    };
    return [
      `*${this.name}`,
      ...[...this.chains.keys()].map((name) => `:${name} - [0:0]`),
      ...[...this.chains].flatMap(([name, rules]) => rules.map((rule, i) => `-A ${name} ${comment(rule, name + i)}`)),
      ...this.hooks.map((rule) => comment(rule, "hook")),
      "COMMIT",
      "",
    ].join("\n");
  }
}

const NAMES: Readonly<Record<string, string>> = { icmpv6: "ipv6-icmp", udplite: "udplite" };
const PORTED = new Set(["6", "tcp", "17", "udp", "132", "sctp"]);

/** Undefined: not of this family, or no such rule can be said. */
function matchOf(rule: Rule, of: Family): string | undefined {
  const { protocol, icmp, source = {}, destination = {} } = rule;
  if ((rule.ipVersion ?? of) !== of) return undefined;
  const name = protocol === undefined ? undefined : String(protocol).toLowerCase();
  const parts: string[] = [];
  if (name === "icmp" && of === 6) return undefined;
  if (name !== undefined) parts.push(`-p ${NAMES[name] ?? name}`);
  const ports = [...(source.ports ?? []), ...(destination.ports ?? [])];
  if (ports.length > 0 && (name === undefined || !PORTED.has(name))) return undefined;
  for (const [entity, flag, way] of [
    [source, "-s", "src"],
    [destination, "-d", "dst"],
  ] as const) {
    const nets = entity.nets ?? [];
    if (nets.length > 1 || nets.some((net) => !isOf(net, of))) return undefined;
    parts.push(...nets.map((net) => `${flag} ${net}`));
    if (entity.selector !== undefined) parts.push(`-m set --match-set ${setName(entity.selector, of)} ${way}`);
    if (entity.ports !== undefined)
      parts.push(`-m multiport --${way === "src" ? "source" : "destination"}-ports ${entity.ports.join(",")}`);
  }
  if (icmp !== undefined)
    parts.push(of === 4 ? `-m icmp --icmp-type ${icmp.type}` : `-m icmp6 --icmpv6-type ${icmp.type}`);
  return parts.join(" ");
}

function policyRules(rules: readonly Rule[], of: Family): string[] {
  return rules.flatMap((rule) => {
    const match = matchOf(rule, of);
    if (match === undefined) return [];
    return [`${match} -j MARK --set-xmark ${ACCEPT}`, `-m mark --mark ${ACCEPT} -j RETURN`];
  });
}

function filter(of: Family, local: readonly Endpoint[], policies: readonly Policy[]): Table {
  const table = new Table("filter");
  const established = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
  for (const { name, ingress, egress } of policies) {
    table.chain(chainName("cali-pi-", `openstack/${name}`), ...policyRules(ingress, of));
    table.chain(chainName("cali-po-", `openstack/${name}`), ...policyRules(egress, of));
  }
  for (const endpoint of local) {
    for (const [prefix, policy] of [
      ["cali-fw-", "cali-po-"],
      ["cali-tw-", "cali-pi-"],
    ] as const) {
      const mine = policies.filter(({ selector }) => matches(selector, endpoint));
      table.chain(
        prefix + endpoint.tap,
        established,
        "-m conntrack --ctstate INVALID -j DROP",
        "-j MARK --set-xmark 0x0/0x30000",
        ...(prefix === "cali-fw-" ? ["-p udp -m multiport --dports 4789 -j DROP", "-p 4 -j DROP"] : []),
        ...mine.flatMap(({ name }) => [
          `-m mark --mark ${PASS} -j ${chainName(policy, `openstack/${name}`)}`,
          `-m mark --mark ${ACCEPT} -j RETURN`,
        ]),
        `-m mark --mark ${PASS} -j DROP`,
        "-j DROP",
      );
    }
  }
  for (const [root, endpointPrefix, way] of [
    ["cali-from-wl-dispatch", "cali-fw-", "-i"],
    ["cali-to-wl-dispatch", "cali-tw-", "-o"],
  ] as const) {
    const groups = new Map<string, string[]>();
    for (const { tap } of local) {
      const first = tap.slice("tap".length, "tap".length + 1);
      groups.set(first, [...(groups.get(first) ?? []), tap]);
    }
    table.chain(root);
    for (const [first, taps] of groups) {
      const leaf = (tap: string): string => `${way} ${tap} -g ${endpointPrefix}${tap}`;
      if (taps.length === 1) table.chain(root, ...taps.map(leaf));
      else {
        table.chain(`${root}-${first}`, ...taps.map(leaf), "-j DROP");
        table.chain(root, `${way} tap${first}+ -g ${root}-${first}`);
      }
    }
    table.chain(root, "-j DROP");
  }
  for (const name of ["from-host-endpoint", "to-host-endpoint", "from-hep-forward", "to-hep-forward", "cidr-block"])
    table.chain(`cali-${name}`);
  table.chain(
    "cali-FORWARD",
    "-j MARK --set-xmark 0x0/0xe0000",
    "-m mark --mark 0x0/0x10000 -j cali-from-hep-forward",
    "-i tap+ -j cali-from-wl-dispatch",
    "-o tap+ -j cali-to-wl-dispatch",
    "-j cali-to-hep-forward",
    "-j cali-cidr-block",
  );
  const [client, server] = of === 4 ? [68, 67] : [546, 547];
  table.chain(
    "cali-wl-to-host",
    ...(of === 6
      ? [130, 131, 132, 133, 135, 136].map((type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -j ACCEPT`)
      : ["-d 127.0.0.1/32 -p tcp -m multiport --dports 8775 -j ACCEPT"]),
    `-p udp -m multiport --sports ${client} -m multiport --dports ${server} -j ACCEPT`,
    "-p udp -m multiport --dports 53 -j ACCEPT",
    "-j cali-from-wl-dispatch",
    "-j DROP",
  );
  table.chain(
    "cali-INPUT",
    "-i tap+ -g cali-wl-to-host",
    `-m mark --mark ${ACCEPT} -j ACCEPT`,
    "-j cali-from-host-endpoint",
  );
  table.chain("cali-OUTPUT", `-m mark --mark ${ACCEPT} -j ACCEPT`, "-o tap+ -j RETURN", "-j cali-to-host-endpoint");
  table.hooks.push(
    ...["INPUT", "FORWARD", "OUTPUT"].map((name) => `-I ${name} 1 -j cali-${name}`),
    `-A FORWARD -m comment --comment "Policy explicitly accepted packet." -m mark --mark ${ACCEPT} -j ACCEPT`,
    `-A FORWARD -j MARK --set-xmark ${ACCEPT}`,
  );
  return table;
}

function raw(of: Family): Table {
  const table = new Table("raw");
  table.chain("cali-rpf-skip");
  table.chain("cali-from-host-endpoint");
  table.chain("cali-to-host-endpoint");
  table.chain(
    "cali-PREROUTING",
    "-j MARK --set-xmark 0x0/0xf0000",
    "-i tap+ -j MARK --set-xmark 0x40000/0x40000",
    "-m mark --mark 0x40000/0x40000 -j cali-rpf-skip",
    ...(of === 4 ? ["-s 0.0.0.0/32 -p udp -m multiport --sports 68 -m multiport --dports 67 -j ACCEPT"] : []),
    "-m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP",
    "-m mark --mark 0x0/0x40000 -j cali-from-host-endpoint",
    `-m mark --mark ${ACCEPT} -j ACCEPT`,
  );
  table.chain("cali-OUTPUT", "-j MARK --set-xmark 0x0/0xf0000", "-j cali-to-host-endpoint");
  table.hooks.push("-I PREROUTING 1 -j cali-PREROUTING", "-I OUTPUT 1 -j cali-OUTPUT");
  return table;
}

function mangle(): Table {
  const table = new Table("mangle");
  table.chain("cali-from-host-endpoint");
  table.chain("cali-to-host-endpoint");
  table.chain("cali-egress-dscp");
  table.chain(
    "cali-PREROUTING",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    `-m mark --mark ${ACCEPT} -j ACCEPT`,
    "-j cali-from-host-endpoint",
  );
  table.chain(
    "cali-POSTROUTING",
    "-j cali-egress-dscp",
    `-m mark --mark ${ACCEPT} -j RETURN`,
    "-j cali-to-host-endpoint",
  );
  table.hooks.push("-I PREROUTING 1 -j cali-PREROUTING", "-I POSTROUTING 1 -j cali-POSTROUTING");
  return table;
}

function nat(of: Family): Table {
  const table = new Table("nat");
  for (const name of ["cali-fip-dnat", "cali-fip-snat", "cali-nat-outgoing"]) table.chain(name);
  table.chain(
    "cali-PREROUTING",
    "-j cali-fip-dnat",
    ...(of === 4
      ? ["-d 169.254.169.254/32 -p tcp -m multiport --dports 80 -j DNAT --to-destination 127.0.0.1:8775"]
      : []),
  );
  table.chain("cali-OUTPUT", "-j cali-fip-dnat");
  table.chain("cali-POSTROUTING", "-j cali-fip-snat", "-j cali-nat-outgoing");
  table.hooks.push(
    "-I PREROUTING 1 -j cali-PREROUTING",
    "-I OUTPUT 1 -j cali-OUTPUT",
    "-I POSTROUTING 1 -j cali-POSTROUTING",
  );
  return table;
}

function sets(of: Family, endpoints: readonly Endpoint[], policies: readonly Policy[]): string[] {
  const selectors = new Set(
    policies.flatMap(({ ingress, egress }) =>
      [...ingress, ...egress].flatMap(({ source, destination }) =>
        [source?.selector, destination?.selector].filter((one) => one !== undefined),
      ),
    ),
  );
  const family = of === 4 ? "inet" : "inet6";
  const create = (name: string): string => `create ${name} hash:net family ${family} maxelem 1048576 -exist`;
  return [
    create(`cali${of}0all-ipam-pools`),
    create(`cali${of}0masq-ipam-pools`),
    ...[...selectors].flatMap((selector) => [
      create(setName(selector, of)),
      ...endpoints
        .filter((endpoint) => matches(selector, endpoint))
        .flatMap(({ networks }) => networks.filter((network) => isOf(network, of)))
        .map((network) => `add ${setName(selector, of)} ${network} -exist`),
    ]),
  ];
}

/** Puts it all into a host's kernel as a Felix that starts does: it leaves others' rules where they are, and inserts its own before them. */
export class Incumbent {
  /** Those of the host that have a tap. */
  private readonly local: readonly Endpoint[];
  private readonly all: ReturnType<typeof read>;

  /** @param taps names of those that are there @param tools "iptables", or "iptables-legacy" */
  constructor(
    private readonly host: Namespace,
    pairs: readonly Pair[],
    hostname: string,
    taps: readonly string[],
    private readonly tools = "iptables",
  ) {
    this.all = read(pairs);
    const seen = new Set<string>();
    this.local = this.all.endpoints.filter(
      ({ node, tap }) => node === hostname && taps.includes(tap) && !seen.has(tap) && seen.add(tap),
    );
  }

  async start(): Promise<void> {
    const { endpoints, policies } = this.all;
    await this.host.sysctl({ "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 });
    for (const of of [4, 6] as const) {
      await this.host.run(["ipset", "restore"], { input: `${sets(of, endpoints, policies).join("\n")}\n` });
      const text = [filter(of, this.local, policies), raw(of), mangle(), nat(of)].map((table) => table.text()).join("");
      const program = of === 4 ? this.tools : this.tools.replace("iptables", "ip6tables");
      // What a former one has hooked in is hooked in once.
      const stands = (await this.host.run([`${program}-save`])).includes("-j cali-FORWARD");
      await this.host.run([`${program}-restore`, "--noflush"], {
        input: stands ? text.replaceAll(/^(?:-I|-A FORWARD|-A INPUT|-A OUTPUT) .*\n/gm, "") : text,
      });
    }
    for (const { tap, mac, networks } of this.local) {
      const [v4, v6] = [`net.ipv4.conf.${tap}`, `net.ipv6.conf.${tap}`];
      await this.host.sysctl({
        ...{ [`${v4}.route_localnet`]: 1, [`${v4}.proxy_arp`]: 1, [`${v4}.forwarding`]: 1, [`${v6}.proxy_ndp`]: 1 },
        ...{ [`${v6}.forwarding`]: 1, [`${v6}.accept_ra`]: 0, [`net.ipv4.neigh.${tap}.proxy_delay`]: 0 },
      });
      await this.host.ip(
        ...networks.map((network) => `route replace ${network} dev ${tap} scope link proto boot metric 1024`),
        ...networks
          .filter((network) => isOf(network, 4))
          .map((network) => `neigh replace ${network.split("/")[0]} lladdr ${mac} dev ${tap} nud permanent`),
      );
    }
  }
}
