import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BpfError, BpfObject } from "#libbpf";

const here = fileURLToPath(new URL(".", import.meta.url));
export const HASH = 1;
export const ARRAY = 2;
export const PROG_ARRAY = 3;
export const PERCPU_HASH = 5;
export const LRU_HASH = 9;
export const LPM_TRIE = 11;
export const DEVMAP_HASH = 25;
export const QUEUE = 22;
export const STACK = 23;
export const RINGBUF = 27;
export const NO_PREALLOC = 1;

const compiled = new Map<string, Buffer>();

/** The object of `programs/<name>.bpf.c`, compiled once per test process. */
export function compile(name: string): Buffer {
  const cached = compiled.get(name);
  if (cached) return cached;
  const directory = mkdtempSync(join(tmpdir(), "libbpf-ts-"));
  try {
    const output = join(directory, `${name}.o`);
    const triplet = execFileSync("gcc", ["-dumpmachine"], { encoding: "utf8" }).trim();
    const source = join(here, "programs", `${name}.bpf.c`);
    execFileSync("clang", ["-O2", "-g", "-target", "bpf", `-I/usr/include/${triplet}`, "-c", source, "-o", output]);
    const elf = readFileSync(output);
    compiled.set(name, elf);
    return elf;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** `programs/<name>.bpf.c` in the kernel. */
export async function load(name: string): Promise<BpfObject> {
  const object = BpfObject.open(compile(name));
  await object.load();
  return object;
}

/** Runs `use` with the path of a bpffs of its own. */
export async function withBpffs(use: (path: string) => void | Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "libbpf-ts-bpffs-"));
  execFileSync("mount", ["-t", "bpf", "bpf", path]);
  try {
    await use(path);
  } finally {
    execFileSync("umount", [path]);
    rmSync(path, { recursive: true });
  }
}

/** What `/proc/self/fd` points to, BPF objects only. */
export function bpfDescriptors(): { fd: string; target: string; closeOnExec: boolean }[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      if (!target.includes("bpf")) return [];
      // fdinfo shows the descriptor's flags in octal; O_CLOEXEC is 02000000.
      const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
      return [{ fd, target, closeOnExec: (parseInt(flags, 8) & 0o2000000) !== 0 }];
    } catch {
      return []; // the directory's own descriptor, gone by now
    }
  });
}

export function u32(...numbers: number[]): Buffer {
  const buffer = Buffer.alloc(numbers.length * 4);
  numbers.forEach((number, i) => buffer.writeUInt32LE(number, i * 4));
  return buffer;
}

export function u64(...numbers: bigint[]): Buffer {
  const buffer = Buffer.alloc(numbers.length * 8);
  numbers.forEach((number, i) => buffer.writeBigUInt64LE(number, i * 8));
  return buffer;
}

/** 0, 1, … as u32 keys. */
export function range(count: number, from = 0): Buffer {
  const buffer = Buffer.alloc(count * 4);
  for (let i = 0; i < count; i++) buffer.writeUInt32LE(from + i, i * 4);
  return buffer;
}

/** The BpfError that `action` throws; fails when it throws none, or another. */
export function bpfError(action: () => unknown): BpfError {
  try {
    action();
  } catch (error) {
    if (error instanceof BpfError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
