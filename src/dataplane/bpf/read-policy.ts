/** Entries of `policy` and `plane` → rules for people: the inverse of images-rule.ts and images-plane.ts. Pure. */
import { Action, ActionNames, ClassNumber, Direction, EntryFlag, NameKind, PlaneFlag } from "../../abi/layout.gen.js";
import { PROTOCOL_ANY, WAY_IPV6, WAY_LOG } from "../../abi/constants.js";
import { parse, type Bytes } from "../../abi/records.js";
import { normalise } from "../../compile/ranges.js";
import type { Family, PortRange } from "../../model/types.js";

export interface PinnedRule {
  readonly number: number;
  /** What the rule's number stands for; cut to 232 bytes. */
  readonly text?: string;
  readonly action: "allow" | "deny" | "pass" | "log";
  readonly stateless: boolean;
  readonly families: readonly Family[];
  /** IANA numbers; absent: any. */
  readonly protocols?: readonly number[];
  /** Destination ports, or ICMP type << 8 | code; absent: any. */
  readonly ports?: readonly PortRange[];
  readonly sourcePorts?: readonly PortRange[];
  /** Texts of the classes it names; "any". */
  readonly remotes: readonly string[];
  /** First packets that it decided. */
  readonly hits: bigint;
  /** Position in a plane where order matters; 0 or 1 elsewhere. */
  readonly order: number;
}

export interface PinnedPlane {
  readonly number: number;
  readonly end: "allow" | "deny" | "pass";
  readonly allowOnly: boolean;
  readonly rules: readonly PinnedRule[];
}

export interface PinnedPolicy {
  readonly set: number;
  readonly name?: string;
  readonly ingress: readonly PinnedPlane[];
  readonly egress: readonly PinnedPlane[];
}

interface Lookup {
  name(kind: number, number: number): string | undefined;
  hits(rule: number): bigint;
}

type Entry = readonly [Bytes, Bytes];
const range = (port: number, length: number): PortRange => ({ first: port, last: port + (0x10000 >> length) - 1 });
const all = <T>(items: readonly T[]): T[] => [...new Set(items)];

export function decodePolicy(
  set: number,
  name: string | undefined,
  planes: readonly Entry[],
  entries: readonly Entry[],
  lookup: Lookup,
): PinnedPolicy {
  const side = (direction: number): PinnedPlane[] =>
    planes
      .map(([key, value]) => ({ key: parse("plane_key", key), plane: parse("plane", value) }))
      .filter(({ key }) => key.direction === direction)
      .sort((a, b) => a.key.number - b.key.number)
      .map(({ key, plane }) => ({
        number: key.number,
        end: plane.end === Action.ACTION_PASS ? "pass" : plane.end === Action.ACTION_ALLOW ? "allow" : "deny",
        allowOnly: (plane.flags & PlaneFlag.PLANE_ALLOW_ONLY) !== 0,
        rules: decodePlane(key.number, direction, entries, lookup),
      }));
  return {
    set,
    ...(name === undefined ? {} : { name }),
    ingress: side(Direction.INGRESS),
    egress: side(Direction.EGRESS),
  };
}

function decodePlane(plane: number, direction: number, entries: readonly Entry[], lookup: Lookup): PinnedRule[] {
  const own = entries
    .map(([key, value]) => ({ key: parse("policy_key", key), entry: parse("policy_entry", value) }))
    .filter(({ key }) => key.plane === plane && (key.way & 1) === direction);
  const sources = new Map<number, PortRange[]>();
  const groups = new Map<string, typeof own>();
  for (const item of own) {
    const { key, entry } = item;
    if (key.class === ClassNumber.CLASS_SOURCE_PORT)
      sources.set(entry.rule, [...(sources.get(entry.rule) ?? []), range(key.port, key.length)]);
    else {
      const group = `${entry.rule} ${key.way & WAY_LOG} ${entry.order}`;
      groups.set(group, [...(groups.get(group) ?? []), item]);
    }
  }
  return [...groups.values()]
    .map((group) => decodeRule(group, sources, lookup))
    .sort((a, b) => a.order - b.order || a.number - b.number);
}

function decodeRule(
  group: readonly { key: ReturnType<typeof parse<"policy_key">>; entry: ReturnType<typeof parse<"policy_entry">> }[],
  sources: ReadonlyMap<number, PortRange[]>,
  lookup: Lookup,
): PinnedRule {
  const keys = group.map(({ key }) => key);
  const entry = group[0]?.entry;
  const number = entry?.rule ?? 0;
  const text = lookup.name(NameKind.NAME_RULE, number);
  const ports = normalise(keys.map(({ port, length }) => range(port, length)));
  const sourceClasses = all(keys.map((key) => key.source_class));
  const anyProtocol = keys.some(({ protocol }) => protocol === PROTOCOL_ANY);
  const log = keys.some(({ way }) => (way & WAY_LOG) !== 0);
  return {
    number,
    ...(text === undefined ? {} : { text }),
    action: log ? "log" : actionOf(entry?.action ?? 0),
    stateless: ((entry?.flags ?? 0) & EntryFlag.ENTRY_STATELESS) !== 0,
    families: all(keys.map(({ way }): Family => ((way & WAY_IPV6) !== 0 ? 6 : 4))).sort(),
    ...(anyProtocol ? {} : { protocols: all(keys.map(({ protocol }) => protocol)).sort((a, b) => a - b) }),
    ...(keys.some(({ length }) => length === 0) ? {} : { ports }),
    ...(sourceClasses.includes(0)
      ? {}
      : { sourcePorts: normalise(sourceClasses.flatMap((key) => sources.get(key) ?? [])) }),
    remotes: all(
      keys.map((key) =>
        key.class === ClassNumber.CLASS_ANY
          ? "any"
          : (lookup.name(NameKind.NAME_CLASS, key.class) ?? `class ${key.class}`),
      ),
    ).sort(),
    hits: lookup.hits(number),
    order: entry?.order ?? 0,
  };
}

function actionOf(action: number): "allow" | "deny" | "pass" {
  if (action === Action.ACTION_ALLOW) return "allow";
  return ActionNames[action] === "ACTION_PASS" ? "pass" : "deny";
}
