/** `policy show`: the rules of one port as the kernel enforces them, with where each comes from and how often it decided. */
import type { PinnedPlane, PinnedPolicy, PinnedRule } from "../dataplane/bpf/read-policy.js";
import { escape } from "../text.js";
import { EXIT, type Command } from "./command.js";
import { STATE_SETTINGS, withState } from "./endpoint.js";
import { columns, json, style } from "./output.js";
import { policyNames, policyOfRule } from "../dataplane/bpf/policy-names.js";
import { callIt, findPort, portsOf, type Port } from "./ports.js";

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  58: "icmpv6",
  132: "sctp",
  136: "udplite",
};
const isIcmp = (protocol: number): boolean => protocol === 1 || protocol === 58;

const portsText = (ports: NonNullable<PinnedRule["ports"]>): string =>
  ports.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(",");

/** "tcp/80,8000-8010 from port 53", "icmp type 8", "any". */
export function matchText({
  protocols,
  ports,
  sourcePorts,
}: Pick<PinnedRule, "protocols" | "ports" | "sourcePorts">): string {
  if (protocols === undefined) return "any";
  const from = sourcePorts === undefined ? "" : ` from port ${portsText(sourcePorts)}`;
  return `${protocolsText(protocols, ports)}${from}`;
}

function protocolsText(protocols: readonly number[], ports: PinnedRule["ports"]): string {
  return protocols
    .map((protocol) => {
      const name = PROTOCOLS[protocol] ?? String(protocol);
      if (ports === undefined) return name;
      if (!isIcmp(protocol)) return `${name}/${portsText(ports)}`;
      return `${name} ${ports.map(icmpText).join(", ")}`;
    })
    .join(" ");
}

/** A range of type << 8 | code in words. */
function icmpText({ first, last }: { readonly first: number; readonly last: number }): string {
  const type = first >> 8;
  if (first === last) return `type ${type} code ${first & 0xff}`;
  if ((first & 0xff) === 0 && (last & 0xff) === 0xff)
    return type === last >> 8 ? `type ${type}` : `types ${type}-${last >> 8}`;
  return `type ${type} code ${first & 0xff} to type ${last >> 8} code ${last & 0xff}`;
}

const END_TEXT: Readonly<Record<PinnedPlane["end"], string>> = {
  deny: "whatever no rule admits is dropped",
  pass: "whatever no rule decided goes on to the next tier",
  allow: "whatever no rule decided passes",
};

export const policyShow: Command = {
  name: "policy show",
  summary: "Print the rules of one port as the kernel enforces them, with origin and hits.",
  detail: [
    "PORT as for endpoint show. A hit is a first packet that the rule decided (every packet, for a stateless rule).",
    "Rules that come to the same entry in the kernel are counted for the first of them. --json has each rule's full text.",
  ],
  arguments: ["PORT"],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie policy show tap1a2b3c4d-5e", "torbie policy show web1 --json"],
  run: async (invocation) => {
    const { context, positionals } = invocation;
    const { port, policy, origins } = await withState(invocation, (state, interfaces, { runDir }) => {
      const found = findPort(portsOf(state.endpoints(), interfaces), positionals[0] ?? "");
      return {
        port: found,
        policy: found.policySet === 0 ? undefined : state.policy(found.number),
        origins: new Map(context.readStatus(runDir)?.policies.map(({ id, origin }) => [id, origin])),
      };
    });
    context.out(invocation.json ? json(shape(port, policy, origins)) : render(port, policy, origins, context.colours));
    return EXIT.ok;
  },
};

type Origins = ReadonlyMap<string, string>;

function shape(port: Port, policy: PinnedPolicy | undefined, origins: Origins) {
  const side = (planes: readonly PinnedPlane[] = []) =>
    planes.map(({ number, end, allowOnly, rules }) => ({
      plane: number,
      end,
      allowOnly,
      rules: rules.map(({ text, protocols, ports, sourcePorts, ...rule }) => ({
        rule: text ?? null,
        policy: policyOfRule(text) ?? null,
        ...rule,
        protocols: protocols ?? null,
        ports: ports ?? null,
        sourcePorts: sourcePorts ?? null,
      })),
    }));
  return {
    interface: port.interface || null,
    id: port.id,
    portSecurity: port.portSecurity,
    policies: policyNames(policy?.name, policy).map((id) => ({ id, origin: origins.get(id) ?? null })),
    ingress: side(policy?.ingress),
    egress: side(policy?.egress),
  };
}

function render(port: Port, policy: PinnedPolicy | undefined, origins: Origins, colours: boolean): string {
  const { bold, bad } = style(colours);
  const names = policyNames(policy?.name, policy).map(
    (id) => `${escape(id)}${origins.has(id) ? ` (${escape(origins.get(id) ?? "")})` : ""}`,
  );
  const lines = [
    bold(escape(callIt(port))),
    ...(names.length > 0 ? names : ["no policies"]).map((name) => `  ${name}`),
  ];
  if (!port.portSecurity) lines.push(bad("port security is off: none of these rules is asked, everything passes"));
  for (const which of ["ingress", "egress"] as const) {
    const planes = policy?.[which] ?? [];
    const rules = planes.flatMap((plane) => plane.rules);
    lines.push("", bold(which === "ingress" ? "to the guest" : "from the guest"));
    if (rules.length > 0)
      lines.push(
        columns(
          ["HITS", "ACTION", "IP", "WHAT", which === "ingress" ? "FROM" : "TO", "OF"],
          rules.map(cells),
        ).trimEnd(),
      );
    const last = planes.at(-1);
    lines.push(last === undefined ? "nothing is allowed: no policy applies" : END_TEXT[last.end]);
  }
  return `${lines.join("\n")}\n`;
}

const cells = (rule: PinnedRule): readonly string[] => [
  String(rule.hits),
  rule.stateless ? `${rule.action} (stateless)` : rule.action,
  rule.families.map((family) => `v${family}`).join(" "),
  matchText(rule),
  rule.remotes.join(", "),
  policyOfRule(rule.text) ?? rule.text ?? `rule ${rule.number}`,
];
