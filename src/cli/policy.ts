/** `policy show`: the rules of one port as the kernel enforces them, with where each comes from and how often it decided. */
import { escape } from "../text.js";
import { EXIT, type Command } from "./command.js";
import { STATE_SETTINGS, withState } from "./endpoint.js";
import { columns, json, style } from "./output.js";
import type { PinnedPlane, PinnedRule } from "./pinned.js";
import { callIt, findPort, portsOf } from "./ports.js";

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 58: "icmpv6", 132: "sctp", 136: "udplite" };
const isIcmp = (protocol: number): boolean => protocol === 1 || protocol === 58;

/** "tcp/80,8000-8010", "icmp type 8", "any". */
export function matchText({ protocols, ports }: Pick<PinnedRule, "protocols" | "ports">): string {
  if (protocols === undefined) return "any";
  return protocols
    .map((protocol) => {
      const name = PROTOCOLS[protocol] ?? String(protocol);
      if (ports === undefined) return name;
      if (!isIcmp(protocol)) return `${name}/${ports.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(",")}`;
      return `${name} ${ports.map(icmpText).join(", ")}`;
    })
    .join(" ");
}

/** A range of type << 8 | code in words. */
function icmpText({ first, last }: { readonly first: number; readonly last: number }): string {
  const type = first >> 8;
  if (first === last) return `type ${type} code ${first & 0xff}`;
  if ((first & 0xff) === 0 && (last & 0xff) === 0xff) return type === last >> 8 ? `type ${type}` : `types ${type}-${last >> 8}`;
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
    "Rules of several groups that come to the same are one entry in the kernel, which counts for the one that is named.",
  ],
  arguments: ["PORT"],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie policy show tap1a2b3c4d-5e", "torbie policy show web1 --json"],
  run: async (invocation) => {
    const { context, positionals } = invocation;
    const found = await withState(invocation, (state) => {
      const port = findPort(portsOf(state.endpoints(), context.interfaceNames()), positionals[0] ?? "");
      const set = port.policySet;
      return { port, name: set === 0 ? "" : state.setName(set), rules: set === 0 ? [] : state.rules(set), planes: set === 0 ? [] : state.planes(set) };
    });
    const direction = (which: "ingress" | "egress") => ({
      rules: found.rules.filter((rule) => rule.direction === which).sort((a, b) => a.plane - b.plane || a.order - b.order || a.number - b.number),
      planes: found.planes.filter((plane) => plane.direction === which).sort((a, b) => a.number - b.number),
    });
    const { port } = found;
    if (invocation.json) {
      const shape = ({ rules, planes }: ReturnType<typeof direction>) => ({
        rules: rules.map(({ key, plane, order, action, stateless, families, protocols, remote, ports, hits, number }) => ({
          rule: key, number, plane, order, action, stateless, families, protocols: protocols ?? null, ports: ports ?? null, remote, hits,
        })),
        planes: planes.map(({ number, end }) => ({ plane: number, end })),
      });
      context.out(
        json({ interface: port.interface || null, id: port.id, portSecurity: !port.noPortSecurity, policies: found.name, ingress: shape(direction("ingress")), egress: shape(direction("egress")) }),
      );
      return EXIT.ok;
    }
    const { bold, bad } = style(context.colours);
    const lines = [`${bold(escape(callIt(port)))}  policies: ${escape(found.name) || "none"}`];
    if (port.noPortSecurity) lines.push(bad("port security is off: none of these rules is asked, everything passes"));
    for (const which of ["ingress", "egress"] as const) {
      const { rules, planes } = direction(which);
      lines.push("", bold(which === "ingress" ? "to the guest" : "from the guest"));
      if (rules.length > 0)
        lines.push(
          columns(
            ["HITS", "ACTION", "IP", "WHAT", which === "ingress" ? "FROM" : "TO", "RULE"],
            rules.map((rule) => [
              String(rule.hits),
              rule.stateless ? `${rule.action} (stateless)` : rule.action,
              rule.families.map((family) => `v${family}`).join(" "),
              matchText(rule),
              rule.remote,
              rule.key,
            ]),
          ).trimEnd(),
        );
      const last = planes.at(-1);
      lines.push(last === undefined ? "nothing is allowed: no policy applies" : END_TEXT[last.end]);
    }
    context.out(`${lines.join("\n")}\n`);
    return EXIT.ok;
  },
};
