/** One rule of the model → one rule of the DesiredState, its two sides told apart. */
import type { Family, PortRange, Rule } from "../model/types.js";
import type { DesiredRule, RuleKey } from "./desired.js";
import { saysNothing, sideMatch, type SideMatch } from "./match.js";
import { complement, intersect, isEverything, normalise } from "./ranges.js";

/** What the rules of one policy or profile have in common. */
export interface RuleSource {
  readonly id: string;
  readonly name: string;
  readonly origin: string;
  readonly stateless: boolean;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

export interface CompiledRule {
  readonly rule: DesiredRule;
  readonly remote: SideMatch;
  /** What must hold of the local address; absent: nothing. */
  readonly local: SideMatch | undefined;
}

const TCP = 6,
  UDP = 17,
  DCCP = 33,
  SCTP = 132,
  UDPLITE = 136,
  ICMP = 1,
  ICMPV6 = 58;
const WITH_PORTS: readonly number[] = [TCP, UDP, DCCP, SCTP, UDPLITE];

/**
 * What rules were compiled to. A rule object of the model stands for the same rule as long as it lives, so that an edit of one
 * rule of a thousand costs one.
 */
const compiled = new WeakMap<Rule, Compiled>();

interface Compiled extends Pick<RuleSource, "id" | "name" | "stateless"> {
  readonly direction: "ingress" | "egress";
  readonly rule: CompiledRule | undefined;
}

/** Undefined when the rule can match nothing: an impossible match, or an allow, pass or log that cannot be expressed (D5). */
export function compileRule(rule: Rule, direction: "ingress" | "egress", source: RuleSource): CompiledRule | undefined {
  const { id, name, stateless } = source;
  const known = compiled.get(rule);
  if (known?.direction === direction && known.id === id && known.name === name && known.stateless === stateless)
    return known.rule;
  const result = compileAnew(rule, direction, source);
  compiled.set(rule, { direction, id, name, stateless, rule: result });
  return result;
}

function compileAnew(rule: Rule, direction: "ingress" | "egress", source: RuleSource): CompiledRule | undefined {
  if (rule.inexpressible !== undefined && rule.action !== "deny") return undefined;
  const [remoteSide, localSide] =
    direction === "ingress" ? [rule.source, rule.destination] : [rule.destination, rule.source];
  const local = sideMatch(localSide, rule.family === undefined ? [4, 6] : [rule.family]);
  const remote = local && sideMatch(remoteSide, local.families);
  const transport = remote && transportOf(rule, remote.families);
  if (local === undefined || remote === undefined || transport === undefined) return undefined;
  const desired: DesiredRule = {
    key: `${source.id}/${rule.index}` as RuleKey,
    action: rule.action,
    stateless: source.stateless,
    families: remote.families,
    ...transport,
    remote: remote.key,
    origin: {
      policy: source.name,
      ...(rule.neutronId === undefined ? {} : { neutronId: rule.neutronId }),
    },
  };
  return { rule: desired, remote, local: saysNothing(local) ? undefined : local };
}

type Transport = Pick<DesiredRule, "protocols" | "ports" | "sourcePorts">;

function transportOf(rule: Rule, families: readonly Family[]): Transport | undefined {
  const protocols = protocolsOf(rule);
  if (protocols?.length === 0) return undefined;
  const carriers = carriersOf(rule, families);
  if (carriers === undefined) return protocols === undefined ? {} : { protocols };
  const carrying = protocols?.filter((protocol) => carriers.includes(protocol)) ?? carriers;
  if (carrying.length === 0) {
    // Ports of a protocol without ports: an allow matches nothing, a deny all that it might have meant.
    if (rule.action !== "deny") return undefined;
    return protocols === undefined ? {} : { protocols };
  }
  const ports = isIcmp(rule) ? icmpRanges(rule) : portRanges(rule.destination.ports, rule.destination.notPorts);
  const sourcePorts = portRanges(rule.source.ports, rule.source.notPorts);
  if (ports.length === 0 || sourcePorts.length === 0) return undefined;
  return {
    protocols: carrying,
    ...(isEverything(ports) ? {} : { ports }),
    ...(isEverything(sourcePorts) ? {} : { sourcePorts }),
  };
}

function protocolsOf({ protocol, notProtocol }: Rule): readonly number[] | undefined {
  if (protocol !== undefined) return protocol === notProtocol ? [] : [protocol];
  if (notProtocol === undefined) return undefined;
  return Array.from({ length: 256 }, (_, number) => number).filter((number) => number !== notProtocol);
}

/** Protocols that have what the rule asks about; undefined: it asks about neither ports nor ICMP types. */
function carriersOf(rule: Rule, families: readonly Family[]): readonly number[] | undefined {
  const lists = [rule.source.ports, rule.source.notPorts, rule.destination.ports, rule.destination.notPorts];
  const asksPorts = lists.some((list) => list.length > 0);
  if (asksPorts) return isIcmp(rule) ? [] : WITH_PORTS;
  if (!isIcmp(rule)) return undefined;
  // Who names the protocol gets it in any family; nobody naming it means each family's own.
  return rule.protocol !== undefined ? [ICMP, ICMPV6] : families.map((family) => (family === 4 ? ICMP : ICMPV6));
}

function isIcmp(rule: Rule): boolean {
  return rule.icmp !== undefined || rule.notIcmp !== undefined;
}

function portRanges(ports: readonly PortRange[], notPorts: readonly PortRange[]): PortRange[] {
  const said = ports.length === 0 ? complement([]) : normalise(ports);
  return notPorts.length === 0 ? said : intersect(said, complement(notPorts));
}

function icmpRanges({ icmp, notIcmp }: Rule): PortRange[] {
  const said = icmp === undefined ? complement([]) : [icmpRange(icmp)];
  return notIcmp === undefined ? said : intersect(said, complement([icmpRange(notIcmp)]));
}

function icmpRange({ type, code }: { readonly type: number; readonly code?: number }): PortRange {
  const first = (type << 8) | (code ?? 0);
  return { first, last: code === undefined ? first | 0xff : first };
}
