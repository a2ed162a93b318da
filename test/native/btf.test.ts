import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBtf, type BtfType } from "#libbpf";
import { bpfError, compile } from "./support.js";

const types = readBtf(compile("types"));

type Kind = BtfType["kind"];
/** "struct" and "union" are one member of the union of types, so Extract alone finds neither. */
type OfKind<K extends Kind> = BtfType extends infer T
  ? T extends { kind: Kind }
    ? K extends T["kind"]
      ? T
      : never
    : never
  : never;

function named<K extends Kind>(kind: K, name: string): OfKind<K> {
  const found = types.find((type) => type.kind === kind && "name" in type && type.name === name);
  if (!found) throw new Error(`no ${kind} ${name}`);
  return found as OfKind<K>;
}

describe("types as plain data", () => {
  it("id 0 is void and ids are indexes", () => {
    expect(types[0]).toEqual({ kind: "other", name: "void", btfKind: 0 });
    const outer = named("struct", "outer");
    const wide = outer.members[0];
    expect(wide?.name).toBe("wide");
    expect(types[wide?.type ?? 0]).toMatchObject({ kind: "typedef", name: "__u64" });
  });

  it("structs have sizes and bit offsets, bit-fields their width", () => {
    const outer = named("struct", "outer");
    expect(outer.size).toBe(64);
    const place = Object.fromEntries(outer.members.map((member) => [member.name, [member.bitOffset, member.bitSize]]));
    expect(place).toMatchObject({
      wide: [0, 0],
      negative: [64, 0],
      low: [96, 5],
      high: [101, 27],
      in: [128, 0],
      next: [384, 0],
    });
    expect(named("struct", "inner").size).toBe(18);
  });

  it("follows typedefs, arrays, pointers and qualifiers", () => {
    const alias = named("typedef", "inner_alias");
    expect(types[alias.type]).toMatchObject({ kind: "struct", name: "inner" });
    const address = named("struct", "inner").members[1];
    expect(types[address?.type ?? 0]).toMatchObject({ kind: "array", length: 16 });
    const next = named("struct", "outer").members.find((member) => member.name === "next");
    const pointer = types[next?.type ?? 0];
    expect(pointer?.kind).toBe("pointer");
    const qualifier = pointer?.kind === "pointer" ? types[pointer.type] : undefined;
    expect(["const", "volatile"]).toContain(qualifier?.kind);
  });

  it("enums have bigint values, also negative ones", () => {
    expect(named("enum", "colour").values).toEqual([
      { name: "RED", value: 1n },
      { name: "BLUE", value: -2n },
    ]);
    expect(named("int", "_Bool")).toMatchObject({ bool: true, signed: false, size: 1 });
    expect(named("int", "int")).toMatchObject({ bool: false, signed: true, size: 4 });
  });

  it("data sections say where their variables are", () => {
    const data = named("datasec", ".data");
    const at = data.variables.map(({ type, offset, size }) => {
      const variable = types[type];
      return [variable?.kind === "var" ? variable.name : "?", offset, size];
    });
    expect(at).toEqual([
      ["second", 0, 4],
      ["third", 8, 8],
    ]);
    expect(named("datasec", ".bss").variables).toHaveLength(1);
  });

  it("an object without types says how to get some", () => {
    const directory = mkdtempSync(join(tmpdir(), "libbpf-ts-btf-"));
    try {
      writeFileSync(join(directory, "bare.c"), "int f(void) { return 0; }\n");
      execFileSync("clang", ["-O2", "-target", "bpf", "-c", "bare.c", "-o", "bare.o"], { cwd: directory });
      const error = bpfError(() => readBtf(readFileSync(join(directory, "bare.o"))));
      expect(error.code).toBe("ENODATA");
      expect(error.log).toContain("-g");
    } finally {
      rmSync(directory, { recursive: true });
    }
    expect(() => readBtf(1 as unknown as Buffer)).toThrow(TypeError);
    expect(bpfError(() => readBtf(Buffer.from("nonsense"))).operation).toBe("btf read");
  });
});
