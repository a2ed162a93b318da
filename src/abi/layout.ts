/**
 * From the BTF of the BPF object to the text of layout.gen.ts: the one place where TypeScript's view of bpf/abi.h is made.
 * Pure; generate.ts does the reading and writing.
 */
import type { BtfType } from "#libbpf";

/** BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY and _LRU_PERCPU_HASH: the programs' own scratch space, not a part of the border. */
const PRIVATE_MAPS: readonly number[] = [5, 6, 10];
const SCALARS: Readonly<Record<number, string>> = { 1: "u8", 2: "u16", 4: "u32", 8: "u64" };
const SKIPPED = new Set(["abi_types"]);

type Composite = Extract<BtfType, { kind: "struct" | "union" }>;

/** Follows typedefs and qualifiers to the type itself. */
function resolve(types: readonly BtfType[], id: number): BtfType {
  let type = types[id];
  while (
    type !== undefined &&
    (type.kind === "typedef" || type.kind === "const" || type.kind === "volatile" || type.kind === "restrict")
  ) {
    type = types[type.type];
  }
  if (type === undefined) throw new RangeError(`BTF type ${id} is not there`);
  return type;
}

/** "u32", "u8[6]", "address", "address[2]", …: the name of a member's kind. Lengths are appended. */
function kindOf(types: readonly BtfType[], id: number): { kind: string; length?: number } {
  const type = resolve(types, id);
  switch (type.kind) {
    case "int":
    case "enum": {
      const kind = SCALARS[type.size];
      if (kind === undefined) throw new RangeError(`no field kind for ${type.size} bytes`);
      return { kind };
    }
    case "array": {
      const inner = kindOf(types, type.type);
      if (inner.length !== undefined) throw new RangeError("arrays of arrays are not supported in the ABI");
      return { kind: inner.kind, length: type.length };
    }
    case "struct":
      return { kind: type.name };
    default:
      throw new RangeError(`the ABI can't hold a ${type.kind}`);
  }
}

/** Array length behind a pointer: how BTF-defined maps say a number (`__uint`). */
function pointedLength(types: readonly BtfType[], id: number): number {
  const pointer = resolve(types, id);
  if (pointer.kind !== "pointer") throw new RangeError("a map's number must be a pointer to an array");
  const array = resolve(types, pointer.type);
  return array.kind === "array" ? array.length : 0;
}

function sizeOf(types: readonly BtfType[], type: BtfType): number {
  if (type.kind === "array") return type.length * sizeOf(types, resolve(types, type.type));
  if (type.kind === "int" || type.kind === "enum" || type.kind === "struct" || type.kind === "union") return type.size;
  throw new RangeError(`no size for a ${type.kind}`);
}

function nameOf(type: BtfType): string {
  return type.kind === "struct" ? type.name : (SCALARS[type.kind === "int" ? type.size : 0] ?? "bytes");
}

/** Undefined for a map that only the programs use. */
function mapText(types: readonly BtfType[], name: string, definition: Composite): string | undefined {
  const numbers: Record<string, number> = { type: 0, max_entries: 0, map_flags: 0, key_size: 0, value_size: 0 };
  const ends: Record<string, { size: number; name: string }> = {};
  for (const member of definition.members) {
    if (member.name === "key" || member.name === "value") {
      const pointer = resolve(types, member.type);
      if (pointer.kind !== "pointer") throw new RangeError(`map ${name}: ${member.name} must be a pointer`);
      const target = resolve(types, pointer.type);
      ends[member.name] = { size: sizeOf(types, target), name: nameOf(target) };
    } else if (member.name in numbers) {
      numbers[member.name] = pointedLength(types, member.type);
    }
  }
  if (PRIVATE_MAPS.includes(numbers["type"] ?? 0)) return undefined;
  const end = (which: string): string[] => {
    const found = ends[which] ?? { size: numbers[`${which}_size`] ?? 0, name: "none" };
    return [`${which}Size: ${found.size}`, `${which}: "${found.name}"`];
  };
  const lines = [
    `type: ${numbers["type"]}`,
    `maxEntries: ${numbers["max_entries"]}`,
    `flags: ${numbers["map_flags"]}`,
    ...end("key"),
    ...end("value"),
  ];
  return `  ${name}: {\n${lines.map((line) => `    ${line},`).join("\n")}\n  },`;
}

function structText(types: readonly BtfType[], struct: Composite): string {
  const fields = struct.members.map((member) => {
    const { kind, length } = kindOf(types, member.type);
    if (member.bitOffset % 8 !== 0 || member.bitSize !== 0)
      throw new RangeError(`${struct.name}.${member.name}: no bit fields in the ABI`);
    return `      ${member.name}: { offset: ${member.bitOffset / 8}, kind: "${kind}"${length === undefined ? "" : `, length: ${length}`} },`;
  });
  return `  ${struct.name}: {\n    size: ${struct.size},\n    fields: {\n${fields.join("\n")}\n    },\n  },`;
}

/** snake_case to PascalCase: `flow_state` becomes FlowState. */
function pascal(name: string): string {
  return name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function enumText(name: string, values: readonly { readonly name: string; readonly value: bigint }[]): string {
  const title = pascal(name);
  const lines = values.map((value) => `  ${value.name}: ${value.value},`);
  const names = new Map<bigint, string>();
  for (const value of values) if (!names.has(value.value)) names.set(value.value, value.name);
  const table = [...names].sort(([a], [b]) => (a < b ? -1 : 1)).map(([value, text]) => `  ${value}: "${text}",`);
  return (
    `export const ${title} = {\n${lines.join("\n")}\n} as const;\n` +
    `export const ${title}Names: Readonly<Record<number, string>> = {\n${table.join("\n")}\n};\n`
  );
}

/** Structs that a map's key or value, or abi_types, reaches. */
function reached(types: readonly BtfType[], roots: readonly number[]): Composite[] {
  const seen = new Map<string, Composite>();
  const walk = (id: number): void => {
    const type = resolve(types, id);
    if (type.kind === "pointer" || type.kind === "array") {
      if (type.type !== 0) walk(type.type);
    } else if (type.kind === "struct" && !seen.has(type.name)) {
      if (type.name !== "" && !SKIPPED.has(type.name)) seen.set(type.name, type);
      for (const member of type.members) walk(member.type);
    }
  };
  for (const root of roots) walk(root);
  return [...seen.values()].filter((struct) => struct.name !== "bpf_spin_lock");
}

/** The text of layout.gen.ts. Throws a RangeError when the object's types are not what the ABI may hold. */
export function renderLayout(types: readonly BtfType[]): string {
  const maps: string[] = [];
  const roots: number[] = [];
  const mapSection = types.find((type) => type.kind === "datasec" && type.name === ".maps");
  if (mapSection?.kind !== "datasec") throw new RangeError("the object has no .maps section");
  for (const variable of mapSection.variables) {
    const map = types[variable.type];
    if (map?.kind !== "var") throw new RangeError(".maps holds something that is no variable");
    const definition = resolve(types, map.type);
    if (definition.kind !== "struct") throw new RangeError(`map ${map.name} is no struct`);
    const text = mapText(types, map.name, definition);
    if (text === undefined) continue;
    maps.push(text);
    roots.push(map.type);
  }
  const anchor = types.findIndex((type) => type.kind === "struct" && type.name === "abi_types");
  const anchored = types[anchor];
  if (anchored?.kind !== "struct") throw new RangeError("the object has no struct abi_types");
  roots.push(anchor);
  const event = types.findIndex((type) => type.kind === "struct" && type.name === "event");
  if (event < 0) throw new RangeError("struct event is not in the object's BTF: name it in struct abi_types");
  roots.push(event);
  const enums = anchored.members
    .map((member) => resolve(types, member.type))
    .flatMap((type) => (type.kind === "enum" ? [enumText(type.name, type.values)] : []));
  const structs = reached(types, roots).sort((a, b) => (a.name < b.name ? -1 : 1));
  return [
    "/* Made by src/abi/generate.ts from the BTF of build/tap.bpf.o (bpf/abi.h, bpf/maps.h). Do not edit: run `make generate`. */",
    "",
    `export const STRUCTS = {\n${structs.map((struct) => structText(types, struct)).join("\n")}\n} as const;`,
    "",
    `export const MAPS = {\n${maps.sort().join("\n")}\n} as const;`,
    "",
    enums.join("\n"),
  ].join("\n");
}
