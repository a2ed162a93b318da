import type { BtfType } from "./api.js";
import { binding } from "./binding.js";

/**
 * The types that an ELF object brings along (`-g`), as plain data; an id is an index, id 0 is void (kind "other").
 * Offsets of variables in data sections are final. ENODATA when the object has no BTF.
 */
export function readBtf(elf: Buffer): BtfType[] {
  return binding.readBtf(elf);
}
