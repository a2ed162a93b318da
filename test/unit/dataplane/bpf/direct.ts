/** What a desired state says of a packet, rule by rule: no tables, no numbers. */
import type { ClassKey, DesiredRule, DesiredState, PolicySetKey } from "../../../../src/compile/desired.js";
import { ANY_CLASS } from "../../../../src/compile/desired.js";
import { contains, family, prefixLength } from "../../../../src/model/cidr.js";
import type { Address, PortRange } from "../../../../src/model/types.js";
import type { Packet } from "./memory.js";

const WITH_PORTS = [6, 17, 33, 132, 136];

export function classesOf(desired: DesiredState, address: Address): ReadonlySet<ClassKey> {
  const exact = desired.addresses.get(address);
  const longest = [...desired.prefixes.keys()]
    .filter((prefix) => contains(prefix, address))
    .sort((a, b) => prefixLength(b) - prefixLength(a))[0];
  const prefix =
    longest === undefined || exact?.complete === true ? [] : (desired.prefixes.get(longest)?.classes ?? []);
  return new Set([...(exact?.classes ?? []), ...prefix]);
}

function matches(rule: DesiredRule, packet: Packet, classes: ReadonlySet<ClassKey>): boolean {
  const within = (ranges: readonly PortRange[], port: number): boolean =>
    ranges.some(({ first, last }) => first <= port && port <= last);
  const ported = WITH_PORTS.includes(packet.protocol);
  if (!rule.families.includes(family(packet.remote))) return false;
  if (rule.protocols !== undefined && !rule.protocols.includes(packet.protocol)) return false;
  if (rule.protocols === undefined && (rule.ports ?? rule.sourcePorts) !== undefined && !ported) return false;
  if (rule.remote !== ANY_CLASS && !classes.has(rule.remote)) return false;
  if (rule.ports !== undefined && (!(ported || [1, 58].includes(packet.protocol)) || !within(rule.ports, packet.port)))
    return false;
  return rule.sourcePorts === undefined || within(rule.sourcePorts, packet.sourcePort);
}

export interface DirectVerdict {
  readonly allowed: boolean;
  readonly stateless: boolean;
  readonly logged: boolean;
}

export function directly(desired: DesiredState, key: PolicySetKey, packet: Packet): DirectVerdict {
  const shape = desired.sets.get(key);
  const side = packet.direction === 0 ? "ingress" : "egress";
  const classes = classesOf(desired, packet.remote);
  let logged = false;
  for (const plane of shape?.[side] ?? []) {
    const hits = plane.policies
      .flatMap((policy) => desired.policies.get(policy)?.[side] ?? [])
      .filter((rule) => matches(rule, packet, classes));
    const decided = hits.find(({ action }) => action !== "log");
    const before = decided === undefined ? hits : hits.slice(0, hits.indexOf(decided));
    logged ||= before.some(({ action }) => action === "log");
    const action = decided?.action ?? plane.end;
    if (action === "pass") continue;
    return { allowed: action === "allow", stateless: action === "allow" && decided?.stateless === true, logged };
  }
  return { allowed: false, stateless: false, logged };
}
