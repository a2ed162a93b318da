/** Differences of maps in words: numbers become what they stand for, and of an entry only the fields that differ are told. Pure. */
import { NameKind } from "../abi/layout.gen.js";
import { parse, record, type Bytes } from "../abi/records.js";
import type { MapDifference } from "../dataplane/bpf/compare.js";
import { decodeEntry, type Fields, type Names, type Plain } from "../dataplane/bpf/decode-map.js";
import { policyNames } from "../dataplane/bpf/policy-names.js";
import type { Difference } from "./difference.js";

/** @param names as the kernel has them; names that are wanted and not there yet are added here */
export function nameMapDifferences(found: readonly MapDifference[], names: Names): Difference[] {
  const added = new Map<Bytes, string>();
  for (const { map, key, wanted } of found) if (map === "name" && wanted !== undefined) added.set(key, textOf(wanted));
  const all: Names = {
    ...names,
    name: (kind, number) => {
      const text = names.name(kind, number) ?? added.get(record("name_key", { kind, number }));
      // The name of a set is what it is made of, at length: its policies say enough.
      return kind === NameKind.NAME_POLICY_SET ? policyNames(text, undefined).join(" + ") || text : text;
    },
  };
  return [...found]
    .sort((a, b) => Number(a.map === "name") - Number(b.map === "name"))
    .map(({ map, key, is, wanted }) => {
      const side = (value: Bytes | undefined): Fields | undefined =>
        value === undefined ? undefined : decodeEntry(map, key, value, all).value;
      const [has, needs] = [side(is), side(wanted)];
      return {
        kind: "map",
        where: map,
        key: fieldsText(decodeEntry(map, key, is ?? wanted ?? key, all).key),
        is: has === undefined ? null : fieldsText(has, needs),
        wanted: needs === undefined ? null : fieldsText(needs, has),
      };
    });
}

function textOf(value: Bytes): string {
  const { text, length } = parse("name", value);
  return Buffer.from(text).subarray(0, length).toString("utf8");
}

const plain = (value: Plain): string =>
  value === null
    ? "none"
    : typeof value === "object"
      ? JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? part.toString() : part))
      : String(value);

/** "action allow, rule …"; of two sides only what differs. */
function fieldsText(fields: Fields, other?: Fields): string {
  const told = Object.entries(fields).filter(
    ([name, value]) =>
      !(other === undefined ? false : plain(other[name] ?? null) === plain(value)) &&
      // Moves with every change.
      name !== "generation",
  );
  const text = told.map(([name, value]) => `${name.replaceAll("_", " ")} ${plain(value) || '""'}`).join(", ");
  return text || "the same in words, other bytes";
}
