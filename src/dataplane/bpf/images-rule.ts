/** One rule → entries of `policy` (D2). Pure. */
import { Action, ClassNumber, Direction, EntryFlag, STRUCTS } from "../../abi/layout.gen.js";
import { PROTOCOL_ANY, WAY_IPV6, WAY_LOG } from "../../abi/constants.js";
import { readU32, record, type Bytes } from "../../abi/records.js";
import type { DesiredRule } from "../../compile/desired.js";
import { portPrefixes, type PortPrefix } from "../../compile/ranges.js";
import { noMasks, noteEntry, PORT_PROTOCOLS, protocolGroup, type Masks } from "./masks.js";

export type Side = "ingress" | "egress";
export const SIDES: readonly Side[] = ["ingress", "egress"];
export const directionOf = (side: Side): number => (side === "ingress" ? Direction.INGRESS : Direction.EGRESS);

export const ORDER = STRUCTS.policy_entry.fields.order.offset;
const ACTIONS = {
  allow: Action.ACTION_ALLOW,
  deny: Action.ACTION_DENY,
  pass: Action.ACTION_PASS,
  log: Action.ACTION_NONE,
} as const;
const WHOLE: readonly PortPrefix[] = [{ value: 0, length: 0 }];

export interface Sink {
  readonly entries: Map<Bytes, Bytes>;
  readonly masks: Masks;
}

/**
 * Protocols of a rule as they are written. A rule of ports without a protocol is one of every protocol that has ports. Number 255 is "any" in
 * the maps and is left out: no packet of that reserved number is ever matched by its own number.
 */
export function protocolsOf(rule: DesiredRule): readonly number[] {
  const ports = rule.ports !== undefined || rule.sourcePorts !== undefined;
  const named = rule.protocols ?? (ports ? PORT_PROTOCOLS : [PROTOCOL_ANY]);
  return rule.protocols === undefined ? named : named.filter((protocol) => protocol !== PROTOCOL_ANY);
}

function portsOf(rule: DesiredRule, protocol: number): readonly PortPrefix[] {
  if (rule.ports === undefined) return WHOLE;
  // Protocols of the last group have neither ports nor types: a rule that names some can't match them.
  if (protocol !== PROTOCOL_ANY && protocolGroup(protocol) === protocolGroup(254)) return [];
  return rule.ports.flatMap((range) => portPrefixes(range));
}

/** Writes one rule's entries; of several with one key the lowest order stays. */
export function writeRule(
  sink: Sink,
  rule: DesiredRule,
  side: Side,
  order: number,
  numbers: { rule: number; classes: readonly number[]; source: readonly number[] },
): void {
  const value = record("policy_entry", {
    order,
    rule: numbers.rule,
    action: ACTIONS[rule.action],
    flags: rule.stateless ? EntryFlag.ENTRY_STATELESS : 0,
  });
  const half = directionOf(side) | (rule.action === "log" ? WAY_LOG : 0);
  for (const protocol of protocolsOf(rule)) {
    for (const { value: port, length } of portsOf(rule, protocol)) {
      noteEntry(sink.masks, protocol, length);
      sink.masks.anyClass ||= numbers.classes.includes(ClassNumber.CLASS_ANY);
      for (const family of rule.families) {
        for (const number of numbers.classes) {
          for (const source of numbers.source) {
            const way = half | (family === 6 ? WAY_IPV6 : 0);
            const key = record("policy_key", { class: number, port, length, protocol, way, source_class: source });
            const present = sink.entries.get(key);
            if (present === undefined || readU32(present, ORDER) > order) sink.entries.set(key, value);
          }
        }
      }
    }
  }
}

export const ANY_SOURCE: readonly number[] = [0];

export interface Expansion {
  readonly side: Side;
  readonly number: number;
  readonly classes: readonly number[];
  readonly entries: readonly (readonly [Bytes, Bytes])[];
  readonly masks: Masks;
}

/** What rules of open planes were expanded to, as long as their numbers are the same. */
const expansions = new WeakMap<DesiredRule, Expansion>();
export const expandedTo = (rule: DesiredRule): Expansion | undefined => expansions.get(rule);

export function expandOpen(rule: DesiredRule, side: Side, number: number, classes: readonly number[]): Expansion {
  const known = expansions.get(rule);
  if (
    known?.side === side &&
    known.number === number &&
    known.classes.length === classes.length &&
    known.classes.every((one, i) => one === classes[i])
  )
    return known;
  const sink = { entries: new Map<Bytes, Bytes>(), masks: noMasks() };
  // The program takes the lowest order: a rule that remembers the flow goes before one that does not.
  writeRule(sink, rule, side, rule.stateless ? 1 : 0, { rule: number, classes, source: ANY_SOURCE });
  const expansion = { side, number, classes: [...classes], entries: [...sink.entries], masks: sink.masks };
  expansions.set(rule, expansion);
  return expansion;
}
