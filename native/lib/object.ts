import type { MapSpec, ProgramSpec } from "./api.js";
import { binding, type NativeObject } from "./binding.js";
import { BpfMap } from "./map.js";
import { BpfProgram } from "./program.js";

/**
 * An ELF object: opened, changed, loaded once, then asked for its maps and programs, which live on their own: the
 * object may be closed as soon as they are taken.
 *
 * Data sections go by their section's name (".rodata", ".data.config"), whatever libbpf calls their maps.
 */
export class BpfObject {
  readonly #native: NativeObject;

  private constructor(native: NativeObject) {
    this.#native = native;
  }

  /**
   * Reads the ELF; nothing is asked of the kernel yet. `name` is the prefix of data sections' maps in the kernel.
   * Throws BpfError with libbpf's words in `log` when it is no BPF object.
   */
  static open(elf: Buffer, options: { readonly name?: string } = {}): BpfObject {
    return new BpfObject(new binding.Object(elf, options.name ?? "object"));
  }

  get maps(): readonly MapSpec[] {
    return this.#native.maps();
  }

  get programs(): readonly ProgramSpec[] {
    return this.#native.programs();
  }

  /** A copy of the initial value of a data section. */
  getData(section: string): Buffer {
    return this.#native.getData(section);
  }

  /** Exactly as long as the section; before load. */
  setData(section: string, value: Buffer): void {
    this.#native.setData(section, value);
  }

  /** Before load. */
  setMaxEntries(map: string, entries: number): void {
    this.#native.setMaxEntries(map, entries);
  }

  /**
   * Load with this map instead of a new one; before load. EINVAL when type, key size or value size differ; entries and
   * flags are those of the existing map. The descriptor is duplicated.
   */
  reuseMap(map: string, existing: BpfMap): void {
    this.#native.reuseMap(map, existing.native);
  }

  /** Whether the program is loaded with the object (default: yes); before load. */
  setAutoload(program: string, on: boolean): void {
    this.#native.setAutoload(program, on);
  }

  /** Have the verifier say of this program what verifierStatistics() gives; before load. Replaces its log in a BpfError. */
  keepVerifierStatistics(program: string): void {
    this.#native.keepStatistics(program);
  }

  /**
   * What the verifier said of it: "processed 126 insns (limit 1000000) …"; the reason when it refused. ENOENT when it was not asked to.
   * Kernels before 5.16 tell the number of instructions nowhere else.
   */
  verifierStatistics(program: string): string {
    return this.#native.statistics(program);
  }

  /**
   * Creates the maps and has the programs verified, on a thread of the pool. Rejects with a BpfError whose `log` is the
   * verifier's. Once only: an object whose load failed is to be closed. Nothing is pinned.
   */
  async load(): Promise<void> {
    await this.#native.load();
  }

  /** After load; a new descriptor, which the caller closes. */
  map(name: string): BpfMap {
    return new BpfMap(this.#native.map(name));
  }

  /** After load; a new descriptor, which the caller closes. ENOENT when it was not to be loaded. */
  program(name: string): BpfProgram {
    return new BpfProgram(this.#native.program(name));
  }

  /** EBUSY while it loads. */
  close(): void {
    this.#native.close();
  }
}
