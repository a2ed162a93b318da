/**
 * The kernel's connection tracking in the network namespace of this process, over ctnetlink.
 *
 * In this process, although the library under it aborts its process on ENOBUFS (see links/follower.ts): that comes to a socket only when
 * the kernel sends what was not asked for (notifications, to which this one never subscribes) or more acknowledgements than the buffer
 * holds, and requests are therefore sent a bounded number at a time. The answer to a dump waits in the kernel for its reader. The command
 * `conntrack` is no way: it can't create entries with TCP's flags, and is a process and a text for every deletion.
 */
import { Protocol } from "netlink";
import { NLM } from "../../links/codec.js";
import { NetlinkError, RtNetlink } from "../../links/rtnetlink.js";
import type { Family } from "../../model/types.js";
import { CT, decodeEntry, encodeCreate, encodeDelete, encodeDump, encodeMark } from "./codec.js";
import type { ConntrackEntry } from "./entry.js";

/** Requests that wait for their acknowledgement at a time: each takes about 1 KiB of 208 KiB. */
const WINDOW = 48;

const ENOENT = 2;
const EEXIST = 17;

export interface Failed {
  readonly entry: ConntrackEntry;
  readonly error: Error;
}

export class Conntrack {
  readonly #socket: RtNetlink;

  /** @throws when no netlink socket can be had */
  constructor() {
    this.#socket = new RtNetlink(Protocol.NETFILTER, "ctnetlink");
  }

  /**
   * Calls `visit` with every entry; nothing is kept, and the event loop gets its turn every few hundred entries. An entry may come twice
   * while the table changes. @throws NetlinkError (EPERM; EINVAL: the kernel has no nf_conntrack_netlink)
   */
  async each(visit: (entry: ConntrackEntry) => void, family: Family | 0 = 0): Promise<void> {
    await this.#socket.scan("reading the connections", CT.GET, encodeDump(family), (body) => {
      const entry = decodeEntry(body);
      if (entry !== undefined) visit(entry);
    });
  }

  /** All of those that fit. */
  async list(fits: (entry: ConntrackEntry) => boolean = () => true, family: Family | 0 = 0): Promise<ConntrackEntry[]> {
    const found: ConntrackEntry[] = [];
    await this.each((entry) => {
      if (fits(entry)) found.push(entry);
    }, family);
    return found;
  }

  /** Exactly this entry. False: it was gone. @throws NetlinkError */
  async delete(entry: ConntrackEntry): Promise<boolean> {
    return this.#unless(ENOENT, "deleting a connection", CT.DELETE, 0, encodeDelete(entry));
  }

  /** A new entry. False: its tuple is tracked already, and that entry is left as it is. @throws NetlinkError */
  async create(entry: ConntrackEntry): Promise<boolean> {
    return this.#unless(EEXIST, "adding a connection", CT.NEW, NLM.CREATE | NLM.EXCL, encodeCreate(entry));
  }

  /** How many were there to delete, and what the kernel refused. */
  async deleteAll(entries: Iterable<ConntrackEntry>): Promise<{ done: number; failed: Failed[] }> {
    return this.#all(entries, (entry) => this.delete(entry));
  }

  /** How many were new, and what the kernel refused. */
  async createAll(entries: Iterable<ConntrackEntry>): Promise<{ done: number; failed: Failed[] }> {
    return this.#all(entries, (entry) => this.create(entry));
  }

  /** Marks of entries that may be gone by now; whoever has their tuple gets the mark. */
  async setMarks(
    marks: Iterable<{ readonly entry: ConntrackEntry; readonly mark: number }>,
  ): Promise<{ done: number; failed: Failed[] }> {
    const markOf = new Map([...marks].map(({ entry, mark }) => [entry, mark]));
    return this.#all(markOf.keys(), (entry) =>
      this.#unless(ENOENT, "marking a connection", CT.NEW, 0, encodeMark(entry, markOf.get(entry) ?? entry.mark)),
    );
  }

  close(): void {
    this.#socket.close();
  }

  async #all(
    entries: Iterable<ConntrackEntry>,
    one: (entry: ConntrackEntry) => Promise<boolean>,
  ): Promise<{ done: number; failed: Failed[] }> {
    const failed: Failed[] = [];
    let done = 0;
    let batch: Promise<void>[] = [];
    for (const entry of entries) {
      batch.push(
        one(entry).then(
          (was) => void (done += was ? 1 : 0),
          (error: unknown) =>
            void failed.push({ entry, error: error instanceof Error ? error : new Error(String(error)) }),
        ),
      );
      if (batch.length < WINDOW) continue;
      await Promise.all(batch);
      batch = [];
    }
    await Promise.all(batch);
    return { done, failed };
  }

  async #unless(errno: number, what: string, type: number, flags: number, body: Buffer): Promise<boolean> {
    try {
      await this.#socket.request(what, type, flags, body);
      return true;
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === errno) return false;
      throw error;
    }
  }
}
