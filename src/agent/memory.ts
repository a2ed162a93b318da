/**
 * Keeps the process small while and after a big snapshot is read: pages of etcd come and go in buffers that are free only when V8 has
 * collected what names them, and what malloc has once taken for them it keeps.
 */
import { createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";
import { inPackage } from "../root.js";

/**
 * By how many percent the heap may grow before V8 collects all of it, beside what runs; V8 itself would let it grow to three times and more. With 100,000
 * remote endpoints that takes some 70 MB off: 216 MB are resident, where 70 percent make 225 to 250. The loop stands still for 40 ms with either.
 */
const HEAP_GROWTH = 55;
/** Bytes by which the process may grow before it is worth a look: that takes some milliseconds. */
const GROWTH = 24 << 20;

export class Memory {
  #trim: (() => void) | undefined;
  #after = process.memoryUsage.rss();

  constructor(load: () => { readonly trim: () => void } = loadAddon) {
    setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`); // read at every collection
    try {
      const addon = load();
      this.#trim = () => addon.trim();
    } catch {
      // A build without the addon keeps what it has.
    }
  }

  /** To be called from time to time, when nothing is due. */
  tidy(): void {
    if (this.#trim === undefined || process.memoryUsage.rss() - this.#after < GROWTH) return;
    this.#trim();
    this.#after = process.memoryUsage.rss();
  }
}

function loadAddon(): { readonly trim: () => void } {
  return createRequire(import.meta.url)(inPackage("native/build/notify.node")) as { readonly trim: () => void };
}
