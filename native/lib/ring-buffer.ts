import { binding, type NativeRingBuffer } from "./binding.js";
import type { BpfMap } from "./map.js";

/**
 * Reads a BPF_MAP_TYPE_RINGBUF: calls `onRecord` for each record, in order, on this thread, until closed. Neither it nor
 * its waiting thread keeps the process alive. The map may be closed meanwhile. Only one reader per map makes sense: the
 * kernel has one position for all.
 *
 * What `onRecord` throws becomes an uncaught exception, after the records that were already taken were delivered.
 */
export class RingBuffer {
  readonly #native: NativeRingBuffer;

  constructor(map: BpfMap, onRecord: (record: Buffer) => void) {
    this.#native = new binding.RingBuffer(map.native, onRecord);
  }

  /** No call of `onRecord` starts after this. */
  close(): void {
    this.#native.close();
  }
}
