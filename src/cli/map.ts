/** `map list|show|dump`: what is in the pinned maps, in words, with what is full and what it costs. */
import { MAPS, STRUCTS } from "../abi/layout.gen.js";
import { parse, u32, type Bytes } from "../abi/records.js";
import { suggest } from "../config/suggest.js";
import { decodeEntry, hex, type Fields, type Plain } from "../dataplane/bpf/decode-map.js";
import type { MapName } from "../dataplane/bpf/plan.js";
import type { PinnedState } from "../dataplane/bpf/read.js";
import { fromBytes } from "../abi/records.js";
import { quote } from "../text.js";
import { CommandError, EXIT, type Command } from "./command.js";
import { countOf } from "./count.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { dumpSet, listSets, showSet } from "./map-sets.js";
import { MAP_DOCS } from "./map-docs.js";
import { namesOf } from "./names.js";
import { bytesText, columns, json, jsonLine, percentText, style } from "./output.js";

/** @throws CommandError absent, with what was meant */
function mapNamed(word: string): MapName {
  if (Object.hasOwn(MAPS, word)) return word as MapName;
  const meant = suggest(word, Object.keys(MAPS));
  const hint = meant.length > 0 ? `; did you mean ${meant.join(" or ")}?` : "";
  throw new CommandError(EXIT.absent, "NO_SUCH_MAP", `no map ${quote(word, 60)}${hint} (torbie map list)`);
}

/** Entries in use. Undefined: the kernel does not say (ring buffers). */
function used(state: PinnedState, name: MapName): number | undefined {
  const { tables } = state;
  const { readable, maxEntries } = tables.info(name);
  if (readable) {
    let count = 0;
    for (const _entry of tables.entries(name)) count++;
    return count;
  }
  if (name !== "flow_free") return undefined;
  const pool = tables.get("pool", u32(0));
  return pool === undefined ? undefined : maxEntries - Number(parse("pool", pool).used);
}

function summary(state: PinnedState, name: MapName) {
  const { type, keySize, valueSize, maxEntries, memory } = state.tables.info(name);
  const entries = used(state, name) ?? null;
  return { map: name, type, entries, maxEntries, keySize, valueSize, memory, doc: MAP_DOCS[name] };
}

/** Nearly full is what an operator looks for. */
const FULL = 0.9;
/** An array is as long as it is: how many elements are not zero says nothing about room. */
const canFill = (type: string): boolean =>
  type !== "array" && type !== "queue" && type !== "ringbuf" && type !== "lru_hash";

export const mapList: Command = {
  name: "map list",
  summary: "Print every map with its size, what is in it and what it costs.",
  detail: [
    "ENTRIES of an array are those that are not all zero; its size is fixed. LRU maps make room by themselves. Where iptables enforces there",
    "are no maps but sets, and these commands print those.",
  ],
  arguments: [],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie map list", "torbie map list --json"],
  run: async (invocation) => {
    const { context } = invocation;
    if (await listSets(invocation)) return EXIT.ok;
    const rows = await withMaps(invocation, (state) => state.tables.names.map((name) => summary(state, name)));
    const total = rows.reduce((sum, { memory }) => sum + memory, 0n);
    if (invocation.json) {
      context.out(json({ maps: rows, memory: total }));
      return EXIT.ok;
    }
    const { bad } = style(context.colours);
    const lines = rows.map(({ map, type, entries, maxEntries, memory, doc }) => [
      map,
      type,
      entries === null ? "-" : String(entries),
      String(maxEntries),
      entries === null || !canFill(type) ? "-" : percentText(entries, maxEntries),
      bytesText(memory),
      doc,
    ]);
    const tight = new Set(
      rows
        .filter(({ type, entries, maxEntries }) => entries !== null && canFill(type) && entries >= FULL * maxEntries)
        .map(({ entries, maxEntries }) => percentText(entries ?? 0, maxEntries)),
    );
    context.out(
      columns(["MAP", "TYPE", "ENTRIES", "SIZE", "USE", "MEMORY", "WHAT IT HOLDS"], lines, (cell, column) =>
        column === 4 && tight.has(cell) ? bad(cell) : cell,
      ),
    );
    context.out(`${bytesText(total)} of kernel memory in all\n`);
    return EXIT.ok;
  },
};

interface FieldShape {
  readonly offset: number;
  readonly kind: string;
  readonly length?: number;
}
const shapeOf = (kind: string): readonly (readonly [string, FieldShape])[] =>
  kind in STRUCTS ? Object.entries(STRUCTS[kind as keyof typeof STRUCTS].fields as Record<string, FieldShape>) : [];

export const mapShow: Command = {
  name: "map show",
  summary: "Print one map: what it holds, how full it is, and how its keys and values are laid out.",
  arguments: ["MAP"],
  flags: [],
  settings: STATE_SETTINGS,
  examples: ["torbie map show policy", "torbie map show flow --json"],
  run: async (invocation) => {
    const { context, positionals } = invocation;
    if (await showSet(invocation, positionals[0] ?? "")) return EXIT.ok;
    const name = mapNamed(positionals[0] ?? "");
    const found = await withMaps(invocation, (state) => summary(state, name));
    const sides = (["key", "value"] as const).map((side) => ({
      side,
      struct: MAPS[name][side],
      fields: shapeOf(MAPS[name][side]).map(([field, { offset, kind, length }]) => ({
        field,
        offset,
        kind: length === undefined ? kind : `${kind}[${length}]`,
      })),
    }));
    if (invocation.json) {
      context.out(json({ ...found, layout: Object.fromEntries(sides.map(({ side, ...rest }) => [side, rest])) }));
      return EXIT.ok;
    }
    const { bold } = style(context.colours);
    const room =
      canFill(found.type) && found.entries !== null ? `, ${percentText(found.entries, found.maxEntries)}` : "";
    const lines = [
      bold(name),
      `  ${found.doc}`,
      `  ${found.type}, ${found.entries ?? "an unknown number"} of ${found.maxEntries} entries${room}`,
      `  ${found.keySize} bytes of key, ${found.valueSize} of value, ${bytesText(found.memory)} of kernel memory`,
    ];
    const fields = sides.flatMap(({ side, struct, fields: list }) =>
      list.length > 0
        ? list.map(({ field, offset, kind }) => [side, field, String(offset), kind])
        : [[side, struct, "0", struct]],
    );
    context.out(`${lines.join("\n")}\n\n${columns(["OF", "FIELD", "OFFSET", "KIND"], fields)}`);
    return EXIT.ok;
  },
};

const cell = (value: Plain): string => {
  if (value === null) return "-";
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.map((one) => cell(one as Plain)).join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value) || "-";
};
const cells = (fields: Fields): string[] => Object.values(fields).map(cell);
const heads = (fields: Fields): string[] => Object.keys(fields).map((name) => name.toUpperCase());

export const mapDump: Command = {
  name: "map dump",
  summary: "Print what is in a map, decoded, with names instead of numbers.",
  detail: [
    "Numbers of ports, classes, rules and interfaces are followed by what they stand for. --json prints an object a line",
    "({key, value}); --raw prints the bytes as hexadecimal, key and value.",
  ],
  arguments: ["MAP"],
  flags: [
    { name: "raw", doc: "Bytes as the kernel has them." },
    { name: "limit", value: "COUNT", doc: "At most so many entries (default: all)." },
  ],
  settings: STATE_SETTINGS,
  jsonLines: true,
  examples: ["torbie map dump policy", "torbie map dump remote --limit 20", "torbie map dump drop --json"],
  run: async (invocation) => {
    const { context, positionals, flags } = invocation;
    const limit = countOf(invocation, "map dump", "limit") ?? Infinity;
    if (await dumpSet(invocation, positionals[0] ?? "", limit)) return EXIT.ok;
    const name = mapNamed(positionals[0] ?? "");
    await withMaps(invocation, (state, interfaces) => {
      if (!state.tables.info(name).readable)
        throw new CommandError(
          EXIT.refused,
          "NOT_READABLE",
          `map ${name} hands out what it holds when it is read: reading it would take that away (torbie map show ${name})`,
        );
      const names = namesOf(state, interfaces);
      const entries: (readonly [Bytes, Bytes])[] = [];
      let left = 0;
      for (const entry of state.tables.entries(name)) {
        if (entries.length < limit) entries.push(entry);
        else left++;
      }
      if (flags.has("raw")) {
        const raw = entries.map(([key, value]) => ({ key: hex(fromBytes(key)), value: hex(fromBytes(value)) }));
        context.out(raw.map((row) => (invocation.json ? jsonLine(row) : `${row.key} ${row.value}\n`)).join(""));
      } else {
        const rows = entries.map(([key, value]) => decodeEntry(name, key, value, names));
        const [first] = rows;
        if (invocation.json) context.out(rows.map(jsonLine).join(""));
        else if (first === undefined) context.out(`map ${name} is empty\n`);
        else
          context.out(
            columns(
              [...heads(first.key), ...heads(first.value)],
              rows.map(({ key, value }) => [...cells(key), ...cells(value)]),
            ),
          );
      }
      if (left > 0) context.err(`${left} more entries (--limit)\n`);
    });
    return EXIT.ok;
  },
};
