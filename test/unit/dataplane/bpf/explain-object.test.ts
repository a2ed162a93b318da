/** What the object that explains can do to the live maps at all: by its instructions, whatever a packet makes it run. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const read = (name: string): Buffer =>
  readFileSync(fileURLToPath(new URL(`../../../../build/${name}`, import.meta.url)));

/** linux/bpf.h, enum bpf_func_id, of what changes a map, queue or ring buffer, or wants to (a lock). */
const WRITING: Readonly<Record<number, string>> = {
  2: "map_update_elem",
  3: "map_delete_elem",
  25: "perf_event_output",
  87: "map_push_elem",
  88: "map_pop_elem",
  93: "spin_lock",
  130: "ringbuf_output",
  131: "ringbuf_reserve",
  132: "ringbuf_submit",
};
const EXECUTABLE = 4;

/** Every instruction of the executable sections of a little-endian ELF64: opcode, source register, immediate. */
function* instructions(elf: Buffer): IterableIterator<{ opcode: number; source: number; immediate: number }> {
  const [table, size, count] = [Number(elf.readBigUInt64LE(0x28)), elf.readUInt16LE(0x3a), elf.readUInt16LE(0x3c)];
  for (let i = 0; i < count; i++) {
    const header = table + i * size;
    if ((Number(elf.readBigUInt64LE(header + 8)) & EXECUTABLE) === 0) continue;
    const [from, length] = [Number(elf.readBigUInt64LE(header + 0x18)), Number(elf.readBigUInt64LE(header + 0x20))];
    for (let at = from; at < from + length; at += 8) {
      const opcode = elf[at] ?? 0;
      yield { opcode, source: (elf[at + 1] ?? 0) >> 4, immediate: elf.readInt32LE(at + 4) };
      if (opcode === 0x18) at += 8; // a 64-bit immediate takes two
    }
  }
}

function found(name: string): { helpers: string[]; atomics: number } {
  const helpers = new Set<string>();
  let atomics = 0;
  for (const { opcode, source, immediate } of instructions(read(name))) {
    if (opcode === 0x85 && source === 0 && immediate in WRITING) helpers.add(WRITING[immediate] ?? "");
    if (opcode === 0xdb || opcode === 0xc3) atomics++;
  }
  return { helpers: [...helpers].sort(), atomics };
}

describe("the object that explains", () => {
  test("calls nothing that changes a map, and has no atomic instruction", () => {
    expect(found("tap-explain.bpf.o")).toEqual({ helpers: [], atomics: 0 });
  });
  test("the one that is attached does, so the search finds them", () => {
    const { helpers, atomics } = found("tap.bpf.o");
    expect(helpers).toContain("map_update_elem");
    expect(helpers).toContain("ringbuf_reserve");
    expect(atomics).toBeGreaterThan(3);
  });
});
