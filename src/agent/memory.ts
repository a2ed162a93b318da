/**
 * Gives memory back that a big snapshot has left behind: pages read from etcd come and go in buffers, and what malloc has once taken for
 * them it keeps.
 */
import { createRequire } from "node:module";

/** Bytes by which the process may grow before it is worth a look: that takes some milliseconds. */
const GROWTH = 24 << 20;

export class Memory {
  #trim: (() => void) | undefined;
  #after = process.memoryUsage.rss();

  constructor(load: () => { readonly trim: () => void } = loadAddon) {
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
  return createRequire(import.meta.url)("../../native/build/notify.node") as { readonly trim: () => void };
}
