/** Loads the BPF object into the kernel, or adopts what an earlier agent pinned there (D6). */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { BpfError, BpfMap, BpfObject, BpfProgram, readBtf } from "#libbpf";
import { ABI_VERSION } from "../../abi/constants.js";
import { LITTLE_ENDIAN } from "../../abi/codec.js";
import { MAPS } from "../../abi/layout.gen.js";
import { fromBytes, record, u32 } from "../../abi/records.js";
import { DataplaneError, UnsupportedError } from "../../errors.js";
import { pinDescription } from "./description-pin.js";
import { fillFree } from "./fill.js";
import { MAP_NAMES, mapPath, mapsDir, PROGRAMS, programPath, programsDir, type ProgramName } from "./pins.js";
import type { MapName } from "./plan.js";
import { explainLoadFailure, requireBpffs } from "./probe.js";

export interface ObjectOptions {
  readonly pinDir: string;
  /** Object files, the best first: the first that this kernel takes is used. */
  readonly objects: readonly string[];
  /** Entries of the flow table; only when the maps are made. */
  readonly flows?: number;
  /** Entries of `remote`, likewise. */
  readonly remoteAddresses?: number;
  /** Entries of other maps than bpf/maps.h says, likewise; for tests of what happens when one is full. */
  readonly sizes?: Readonly<Partial<Record<MapName, number>>>;
  /** By how much the mark's 16 bits are shifted. */
  readonly markShift?: number;
}

export interface Objects {
  readonly maps: ReadonlyMap<MapName, BpfMap>;
  readonly programs: ReadonlyMap<ProgramName, BpfProgram>;
  /** True: the maps were there. */
  readonly adopted: boolean;
  /** Whether the programs see what checksum a guest asks to have filled in (bpf/checksum.h; kernels from 6.2). */
  readonly seesChecksums: boolean;
  close(): void;
}

/** Key in `name` under which the digest of the loaded object is kept; no kind of number. */
const OBJECT_KEY = fromBytes(record("name_key", { kind: 0x4f424a, number: 0 }));
const FLOW_MAPS: readonly MapName[] = ["flow", "flow_slot", "flow_free"];

interface Candidate {
  readonly file: string;
  readonly elf: Buffer;
  readonly rodata: Buffer;
  readonly seesChecksums: boolean;
  readonly digest: Buffer;
}

/**
 * Maps and programs, pinned. Throws UnsupportedError when this machine can't (what is missing, what to do), DataplaneError when what is
 * pinned is not what this version writes.
 */
export async function openObjects(options: ObjectOptions): Promise<Objects> {
  requireBpffs(options.pinDir);
  const candidates = options.objects
    .filter((file) => existsSync(file))
    .map((file) => prepare(file, options.markShift ?? 0));
  if (candidates.length === 0)
    throw new UnsupportedError(
      "NO_OBJECT",
      `no BPF object found (looked for ${options.objects.join(", ")}): run \`make build\``,
    );
  const adopted = existsSync(mapsDir(options.pinDir));
  const existing = adopted ? adoptMaps(options.pinDir) : undefined;
  const pinned = existing === undefined ? undefined : adoptPrograms(options.pinDir, existing, candidates);
  if (existing !== undefined && pinned !== undefined)
    return objects(existing, pinned.programs, true, pinned.candidate.seesChecksums);
  const failures: Error[] = [];
  for (const candidate of candidates) {
    try {
      return await load(options, candidate, existing);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      failures.push(error);
    }
  }
  for (const map of existing?.values() ?? []) map.close();
  throw explainLoadFailure(failures.at(-1) ?? new Error("nothing was tried"));
}

function objects(
  maps: ReadonlyMap<MapName, BpfMap>,
  programs: ReadonlyMap<ProgramName, BpfProgram>,
  adopted: boolean,
  seesChecksums: boolean,
): Objects {
  const close = (): void => {
    for (const item of [...maps.values(), ...programs.values()]) item.close();
  };
  return { maps, programs, adopted, seesChecksums, close };
}

function prepare(file: string, markShift: number): Candidate {
  const elf = readFileSync(file);
  const object = BpfObject.open(elf);
  try {
    const rodata = object.getData(".rodata");
    const version = variable(elf, "abi_version");
    const read = LITTLE_ENDIAN ? rodata.readUInt32LE(version) : rodata.readUInt32BE(version);
    if (read !== ABI_VERSION)
      throw new DataplaneError(
        "ABI_VERSION",
        `${file} has layout version ${read}, this program ${ABI_VERSION}: build both from one checkout`,
      );
    fromBytes(u32(markShift)).copy(rodata, variable(elf, "mark_shift"));
    const seesChecksums = rodata[variable(elf, "sees_checksums") + (LITTLE_ENDIAN ? 0 : 3)] === 1;
    return {
      file,
      elf,
      rodata,
      seesChecksums,
      digest: createHash("sha256").update(elf).update(rodata).digest().subarray(0, 16),
    };
  } finally {
    object.close();
  }
}

/** Offset of a variable in .rodata. */
function variable(elf: Buffer, name: string): number {
  const types = readBtf(elf);
  for (const section of types) {
    if (section.kind !== "datasec" || section.name !== ".rodata") continue;
    for (const { type, offset } of section.variables) {
      const named = types[type];
      if (named?.kind === "var" && named.name === name) return offset;
    }
  }
  throw new DataplaneError("BAD_OBJECT", `the BPF object has no constant ${name}`);
}

/** Whether the programs that are pinned came from these objects with this mark. @throws DataplaneError */
export function isOfThisBuild(nameMap: BpfMap, objects: readonly string[], markShift: number): boolean {
  const known = nameMap.get(OBJECT_KEY)?.subarray(0, 16);
  return objects
    .filter((file) => existsSync(file))
    .some((file) => known?.equals(prepare(file, markShift).digest) === true);
}

function adoptMaps(pinDir: string): Map<MapName, BpfMap> {
  const maps = new Map<MapName, BpfMap>();
  try {
    for (const name of MAP_NAMES) {
      const map = openPinnedMap(pinDir, name);
      maps.set(name, map);
      checkShape(name, map, pinDir);
    }
    pinDescription(mapsDir(pinDir));
  } catch (error) {
    for (const map of maps.values()) map.close();
    throw error;
  }
  return maps;
}

/** Throws DataplaneError when it is not there. */
export function openPinnedMap(pinDir: string, name: MapName): BpfMap {
  try {
    return BpfMap.open(mapPath(pinDir, name));
  } catch (error) {
    throw new DataplaneError(
      "PINNED_MISSING",
      `${mapPath(pinDir, name)} can't be opened: ${error instanceof Error ? error.message : String(error)}. What is pinned there is not whole: \`torbie cleanup\` removes it`,
      { cause: error },
    );
  }
}

/** @throws DataplaneError when it is a map of another version */
export function checkShape(name: MapName, map: BpfMap, pinDir: string): void {
  const [wanted, is] = [MAPS[name], map.info];
  // A ring buffer's sizes are 0 in both; max entries may have been chosen when it was made.
  const differs = (["type", "keySize", "valueSize", "flags"] as const).filter((field) => wanted[field] !== is[field]);
  if (differs.length === 0) return;
  const what = differs.map((field) => `${field} is ${is[field]}, not ${wanted[field]}`).join(", ");
  throw new DataplaneError(
    "PINNED_SHAPE",
    `the map pinned at ${mapPath(pinDir, name)} is not one of this version: ${what}. Nothing was changed; \`torbie cleanup\` removes what is pinned, or choose another pin directory`,
  );
}

/** The pinned programs, if they are whole and were loaded from one of these objects with these constants. */
function adoptPrograms(
  pinDir: string,
  maps: ReadonlyMap<MapName, BpfMap>,
  candidates: readonly Candidate[],
): { readonly programs: Map<ProgramName, BpfProgram>; readonly candidate: Candidate } | undefined {
  const known = maps.get("name")?.get(OBJECT_KEY)?.subarray(0, 16);
  const candidate = known && candidates.find(({ digest }) => digest.equals(known));
  if (candidate === undefined) return undefined;
  const programs = new Map<ProgramName, BpfProgram>();
  for (const name of PROGRAMS) {
    if (!existsSync(programPath(pinDir, name))) {
      for (const program of programs.values()) program.close();
      return undefined;
    }
    programs.set(name, BpfProgram.open(programPath(pinDir, name)));
  }
  return { programs, candidate };
}

async function load(
  options: ObjectOptions,
  candidate: Candidate,
  existing: ReadonlyMap<MapName, BpfMap> | undefined,
): Promise<Objects> {
  const object = BpfObject.open(candidate.elf);
  try {
    object.setData(".rodata", candidate.rodata);
    for (const [name, map] of existing ?? []) object.reuseMap(name, map);
    if (existing === undefined && options.flows !== undefined)
      for (const name of FLOW_MAPS) object.setMaxEntries(name, options.flows);
    if (existing === undefined && options.remoteAddresses !== undefined)
      object.setMaxEntries("remote", options.remoteAddresses);
    for (const [name, entries] of existing === undefined ? Object.entries(options.sizes ?? {}) : [])
      object.setMaxEntries(name, entries);
    await object.load();
    const maps = existing ?? new Map(MAP_NAMES.map((name) => [name, object.map(name)] as const));
    const programs = new Map(PROGRAMS.map((name) => [name, object.program(name)] as const));
    if (existing === undefined) {
      await fillFree(maps, candidate.file);
      pinAll(options.pinDir, maps);
    }
    pinPrograms(options.pinDir, programs);
    const name = fromBytes(record("name", { digest: candidate.digest, length: 0 }));
    maps.get("name")?.set(OBJECT_KEY, name);
    return objects(maps, programs, existing !== undefined, candidate.seesChecksums);
  } finally {
    object.close();
  }
}

/** Pins all maps at once: made in a directory beside and renamed, when `flow_free` is full, so that a crash leaves none of it. */
function pinAll(pinDir: string, maps: ReadonlyMap<MapName, BpfMap>): void {
  mkdirSync(pinDir, { recursive: true, mode: 0o700 });
  const made = `${pinDir}/making_${process.pid}`;
  rmPins(made);
  mkdirSync(made, { mode: 0o700 });
  try {
    for (const [name, map] of maps) map.pin(`${made}/${name}`);
    pinDescription(made);
    renameSync(made, mapsDir(pinDir));
  } catch (error) {
    rmPins(made);
    throw error;
  }
}

/** Each program's pin is replaced by renaming, so that there is always one. */
function pinPrograms(pinDir: string, programs: ReadonlyMap<ProgramName, BpfProgram>): void {
  mkdirSync(programsDir(pinDir), { recursive: true, mode: 0o700 });
  for (const [name, program] of programs) {
    const made = programPath(pinDir, name) + "_new";
    if (existsSync(made)) unlinkSync(made);
    program.pin(made);
    renameSync(made, programPath(pinDir, name));
  }
}

function rmPins(directory: string): void {
  if (dirname(directory) !== directory && existsSync(directory)) rmSync(directory, { recursive: true });
}
