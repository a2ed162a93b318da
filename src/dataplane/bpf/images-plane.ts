/** Planes of a policy set → entries of `policy` and `plane` (D2). Pure. */
import { ClassNumber, EntryFlag } from "../../abi/layout.gen.js";
import { PROTOCOL_ANY, WAY_IPV6 } from "../../abi/constants.js";
import { parse, readU32, record, type Bytes } from "../../abi/records.js";
import type { CompiledPolicy, DesiredRule, PlaneShape, PolicyKey } from "../../compile/desired.js";
import { DataplaneError } from "../../errors.js";
import type { Numbering, PolicyHalf, PolicyImage } from "./images-policy.js";
import { ANY_SOURCE, directionOf, ORDER, protocolsOf, SIDES, writeRule, type Side } from "./images-rule.js";
import { noMasks, planeValue, uniteMasks } from "./masks.js";
import { sourceClasses } from "./images-source-ports.js";

export interface PlaneImage {
  readonly open: boolean;
  readonly value: Bytes;
  /** As PolicyHalf.entries. */
  readonly entries: ReadonlyMap<Bytes, Bytes>;
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
