/**
 * Rules → entries of `policy` and `plane` (D2). Pure.
 *
 * Where a plane only allows ("open"), order does not matter: entries depend on the policy alone, so each policy is expanded once and put into
 * every set that holds it, and a change is the difference of two expansions. Any other plane is written as a whole.
 */
import { Action, ClassNumber, Direction, EntryFlag, STRUCTS } from "../../abi/layout.gen.js";
import { PROTOCOL_ANY, WAY_IPV6, WAY_LOG } from "../../abi/constants.js";
import { parse, readU32, record, type Bytes } from "../../abi/records.js";
import type { ClassKey, CompiledPolicy, DesiredRule, PlaneShape, PolicyKey } from "../../compile/desired.js";
import { portPrefixes, type PortPrefix } from "../../compile/ranges.js";
import { DataplaneError } from "../../errors.js";
import {
  coversMasks,
  noMasks,
  noteEntry,
  planeValue,
  PORT_PROTOCOLS,
  protocolGroup,
  uniteMasks,
  type Masks,
} from "./masks.js";
import { sourceClasses } from "./images-source-ports.js";

export type Side = "ingress" | "egress";
export const SIDES: readonly Side[] = ["ingress", "egress"];
export const directionOf = (side: Side): number => (side === "ingress" ? Direction.INGRESS : Direction.EGRESS);

/** Numbers that the expansion needs; the registry behind it gives them out. */
export interface Numbering {
  rule(rule: DesiredRule, policy: CompiledPolicy, side: Side): number;
  /** A class's own number first, then those of the composites that it is a member of. */
  classes(key: ClassKey): readonly number[];
}

/** One policy in one direction. Keys are for policy set 0 and plane 0; see placePolicyKey. */
export interface PolicyHalf {
  /** Only allow rules, and none names source ports: order within it does not matter. */
  readonly open: boolean;
  readonly stateless: boolean;
  readonly stateful: boolean;
  /** Empty unless open. */
  readonly entries: ReadonlyMap<Bytes, Bytes>;
  readonly masks: Masks;
  /** Every rule has entries, and none has one that another has as well: a rule can be taken out alone. */
  readonly separate: boolean;
}

export interface PolicyImage {
  readonly source: CompiledPolicy;
  readonly rules: ReadonlySet<number>;
  readonly ingress: PolicyHalf;
  readonly egress: PolicyHalf;
}

export interface PlaneImage {
  readonly open: boolean;
  readonly value: Bytes;
  /** As PolicyHalf.entries. */
  readonly entries: ReadonlyMap<Bytes, Bytes>;
}

const ORDER = STRUCTS.policy_entry.fields.order.offset;
const ACTIONS = {
  allow: Action.ACTION_ALLOW,
  deny: Action.ACTION_DENY,
  pass: Action.ACTION_PASS,
  log: Action.ACTION_NONE,
} as const;
const WHOLE: readonly PortPrefix[] = [{ value: 0, length: 0 }];

interface Sink {
  readonly entries: Map<Bytes, Bytes>;
  readonly masks: Masks;
}

/**
 * Protocols of a rule as they are written. A rule of ports without a protocol is one of every protocol that has ports. Number 255 is "any" in
 * the maps and is left out: no packet of that reserved number is ever matched by its own number.
 */
function protocolsOf(rule: DesiredRule): readonly number[] {
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
function writeRule(
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

const ANY_SOURCE: readonly number[] = [0];

interface Expansion {
  readonly side: Side;
  readonly number: number;
  readonly classes: readonly number[];
  readonly entries: readonly (readonly [Bytes, Bytes])[];
  readonly masks: Masks;
}

/** What rules of open planes were expanded to, as long as their numbers are the same. */
const expansions = new WeakMap<DesiredRule, Expansion>();

function expandOpen(rule: DesiredRule, side: Side, number: number, classes: readonly number[]): Expansion {
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

/** More differing rules than this are expanded with all the others. */
const FEW_RULES = 64;

/**
 * The half whose rules differ from a former one's in a few places, worked out from that; undefined: it takes a whole expansion. `rules` are
 * the former image's numbers and become the new one's.
 */
function amended(
  former: PolicyImage,
  policy: CompiledPolicy,
  side: Side,
  numbering: Numbering,
  rules: Set<number>,
): PolicyHalf | undefined {
  const half = former[side];
  const [was, now] = [former.source[side], policy[side]];
  if (was === now) return half;
  if (!half.open || !half.separate) return undefined;
  const shorter = Math.min(was.length, now.length);
  let [head, tail] = [0, 0];
  while (head < shorter && was[head] === now[head]) head++;
  while (tail < shorter - head && was[was.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const gone = was.slice(head, was.length - tail);
  const come = now.slice(head, now.length - tail);
  if (gone.length + come.length > FEW_RULES || !come.every(isOpenRule)) return undefined;

  const entries = new Map(half.entries);
  const masks: Masks[] = [];
  for (const rule of gone) {
    const known = expansions.get(rule);
    if (known?.side !== side || !rules.delete(known.number)) return undefined;
    for (const [key, value] of known.entries) if (entries.get(key) !== value || !entries.delete(key)) return undefined;
    masks.push(known.masks);
  }
  // Whether others still ask for what the rules that are gone asked for: mostly the first one does.
  const lost = uniteMasks(masks);
  let kept = noMasks();
  for (const rule of [...now.slice(0, head), ...now.slice(now.length - tail)]) {
    if (coversMasks(kept, lost)) break;
    const known = expansions.get(rule);
    if (known?.side !== side) return undefined;
    kept = uniteMasks([kept, known.masks]);
  }
  const others = coversMasks(kept, lost) ? half.masks : kept;
  const added: Masks[] = [others];
  for (const rule of come) {
    const number = numbering.rule(rule, policy, side);
    const expansion = expandOpen(rule, side, number, numbering.classes(rule.remote));
    if (rules.has(number) || expansion.entries.length === 0) return undefined;
    rules.add(number);
    added.push(expansion.masks);
    for (const [key, value] of expansion.entries) {
      if (entries.has(key)) return undefined;
      entries.set(key, value);
    }
  }
  return { open: true, entries, masks: uniteMasks(added), separate: true, ...memories(now) };
}

const isOpenRule = (rule: DesiredRule): boolean => rule.action === "allow" && rule.sourcePorts === undefined;

const memories = (rules: readonly DesiredRule[]): Pick<PolicyHalf, "stateless" | "stateful"> => ({
  stateless: rules.some((rule) => rule.stateless),
  stateful: rules.some((rule) => !rule.stateless),
});

/**
 * Expands a policy; rule numbers are asked for in order. `former`: an image of it whose classes have the same numbers now; what a few rules
 * less or more make of it is the same as a whole expansion.
 */
export function policyImage(policy: CompiledPolicy, numbering: Numbering, former?: PolicyImage): PolicyImage {
  if (former !== undefined) {
    const numbers = new Set(former.rules);
    const ingress = amended(former, policy, "ingress", numbering, numbers);
    const egress = ingress && amended(former, policy, "egress", numbering, numbers);
    if (ingress !== undefined && egress !== undefined) return { source: policy, rules: numbers, ingress, egress };
  }
  const rules = new Set<number>();
  const half = (side: Side): PolicyHalf => {
    let separate = true;
    const list = policy[side];
    const open = list.every(isOpenRule);
    const entries = new Map<Bytes, Bytes>();
    const masks: Masks[] = [];
    for (const rule of list) {
      const number = numbering.rule(rule, policy, side);
      rules.add(number);
      if (!open) continue;
      const expansion = expandOpen(rule, side, number, numbering.classes(rule.remote));
      masks.push(expansion.masks);
      separate &&= expansion.entries.length > 0;
      for (const [key, value] of expansion.entries) {
        const present = entries.get(key);
        separate &&= present === undefined;
        if (present === undefined || readU32(present, ORDER) > readU32(value, ORDER)) entries.set(key, value);
      }
    }
    return {
      open,
      entries,
      masks: uniteMasks(masks),
      separate,
      ...memories(list),
    };
  };
  return { source: policy, rules, ingress: half("ingress"), egress: half("egress") };
}

/** No rule that remembers flows comes after one that does not: then whichever hit remembers is the first such hit. */
function statefulFirst(halves: readonly PolicyHalf[]): boolean {
  const firstStateless = halves.findIndex((half) => half.stateless);
  if (firstStateless < 0) return true;
  return !halves[firstStateless]?.stateful && halves.slice(firstStateless).every((half) => !half.stateful);
}

export function isOpenPlane(halves: readonly PolicyHalf[]): boolean {
  return halves.every((half) => half.open) && statefulFirst(halves);
}

/** By direction, then family: the key of a rule that names nothing but its family. */
const EVERYTHING = SIDES.map((side) =>
  [0, WAY_IPV6].map((family) =>
    record("policy_key", { class: ClassNumber.CLASS_ANY, protocol: PROTOCOL_ANY, way: directionOf(side) | family }),
  ),
);

const everything = new Set(EVERYTHING.flat());

/** Whether a plane's value, and not only its entries, says what is under one of these keys. */
export function concernsPlane(keys: ReadonlySet<Bytes>): boolean {
  for (const key of everything) if (keys.has(key)) return true;
  return false;
}

/** The rule that allows everything of a family and remembers the flow, 0 none: in an open plane nothing can come before it. */
function ruleForEverything(halves: readonly PolicyHalf[], family: 0 | 1): number {
  for (const keys of EVERYTHING) {
    const key = keys[family];
    const value = key === undefined ? undefined : openEntry(halves, key);
    if (value === undefined) continue;
    const { flags, rule } = parse("policy_entry", value);
    if ((flags & EntryFlag.ENTRY_STATELESS) === 0) return rule;
  }
  return 0;
}

export function openPlaneValue(halves: readonly PolicyHalf[], end: PlaneShape["end"]): Bytes {
  return planeValue(uniteMasks(halves.map((half) => half.masks)), {
    end,
    allowOnly: true,
    sourcePorts: false,
    log: false,
    everything: [ruleForEverything(halves, 0), ruleForEverything(halves, 1)],
  });
}

/** What the policies of an open plane together say of one key: the lowest order, the first policy among equals. */
export function openEntry(halves: readonly PolicyHalf[], key: Bytes): Bytes | undefined {
  let best: Bytes | undefined;
  for (const half of halves) {
    const value = half.entries.get(key);
    if (value !== undefined && (best === undefined || readU32(value, ORDER) < readU32(best, ORDER))) best = value;
  }
  return best;
}

/** openEntry() of the halves of these policies. */
export function openEntryOf(
  images: ReadonlyMap<PolicyKey, PolicyImage>,
  policies: readonly PolicyKey[],
  side: Side,
  key: Bytes,
): Bytes | undefined {
  let best: Bytes | undefined;
  for (const policy of policies) {
    const value = images.get(policy)?.[side].entries.get(key);
    if (value !== undefined && (best === undefined || readU32(value, ORDER) < readU32(best, ORDER))) best = value;
  }
  return best;
}

function openPlane(halves: readonly PolicyHalf[], end: PlaneShape["end"]): PlaneImage {
  const entries = new Map<Bytes, Bytes>();
  for (const half of halves)
    for (const key of half.entries.keys()) if (!entries.has(key)) entries.set(key, openEntry(halves, key) ?? key);
  return { open: true, value: openPlaneValue(halves, end), entries };
}

/** Which (protocol, way) the source classes must be found under: the program asks with the packet's own. */
function sourceProbes(rules: readonly DesiredRule[], side: Side): Map<string, { protocol: number; way: number }> {
  const probes = new Map<string, { protocol: number; way: number }>();
  for (const rule of rules) {
    for (const protocol of protocolsOf(rule)) {
      for (const family of rule.families) {
        const way = directionOf(side) | (family === 6 ? WAY_IPV6 : 0);
        probes.set(`${protocol}/${way}`, { protocol, way });
      }
    }
  }
  return probes;
}

function closedPlane(
  policies: readonly CompiledPolicy[],
  side: Side,
  end: PlaneShape["end"],
  numbering: Numbering,
  allowOnly: boolean,
): PlaneImage {
  const sink = { entries: new Map<Bytes, Bytes>(), masks: noMasks() };
  const rules = policies.flatMap((policy) => policy[side].map((rule) => ({ rule, policy })));
  if (rules.length >= 0xffffffff)
    throw new DataplaneError(
      "TOO_MANY_RULES",
      `a tier of one policy set holds ${rules.length} rules: at most 2^32 - 2`,
    );
  const withSource = rules.map(({ rule }) => rule).filter((rule) => rule.sourcePorts !== undefined);
  const sources = sourceClasses(withSource.map((rule) => rule.sourcePorts ?? []));
  rules.forEach(({ rule, policy }, i) => {
    const source = rule.sourcePorts === undefined ? ANY_SOURCE : sources.numbersOf(rule.sourcePorts);
    writeRule(sink, rule, side, i + 1, {
      rule: numbering.rule(rule, policy, side),
      classes: numbering.classes(rule.remote),
      source,
    });
  });
  for (const { protocol, way } of sourceProbes(withSource, side).values()) {
    for (const { number, prefix } of sources.prefixes) {
      sink.masks.sourceLengths = (sink.masks.sourceLengths | (1 << prefix.length)) >>> 0;
      const key = record("policy_key", {
        class: ClassNumber.CLASS_SOURCE_PORT,
        port: prefix.value,
        length: prefix.length,
        protocol,
        way,
      });
      sink.entries.set(key, record("policy_entry", { rule: number }));
    }
  }
  const log = rules.some(({ rule }) => rule.action === "log");
  return {
    open: false,
    value: planeValue(sink.masks, { end, allowOnly, sourcePorts: withSource.length > 0, log }),
    entries: sink.entries,
  };
}

/** Everything of one plane. `images` holds every policy of the shape; one that is missing allows nothing. */
export function planeImage(
  shape: PlaneShape,
  side: Side,
  images: ReadonlyMap<PolicyKey, PolicyImage>,
  numbering: Numbering,
): PlaneImage {
  const present = shape.policies.flatMap((key) => images.get(key) ?? []);
  const halves = present.map((image) => image[side]);
  if (isOpenPlane(halves)) return openPlane(halves, shape.end);
  const allowOnly =
    statefulFirst(halves) && present.every(({ source }) => source[side].every((rule) => rule.action === "allow"));
  return closedPlane(
    present.map((image) => image.source),
    side,
    shape.end,
    numbering,
    allowOnly,
  );
}
