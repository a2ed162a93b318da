/** What the status writers need of etcd, and nothing more; tests have one in memory. */
import type { KVClient, LeaseClient } from "etcd3";
import type { KeyWrite } from "./queue.js";

/** etcd refuses transactions of more operations (--max-txn-ops, 128 by default). */
export const MOST_OPERATIONS = 128;
/** Milliseconds that one call may take. */
const DEADLINE = 5_000;
/** Keys a page: 100,000 guests are on no one host, but a prefix may hold what others left there. */
const PAGE = 1_000;

export interface StatusStore {
  /** Every key below the prefix. */
  read(prefix: string): Promise<ReadonlyMap<string, string>>;
  /** All or none, at most MOST_OPERATIONS; with a lease: the keys that are put end with it. */
  write(writes: readonly (KeyWrite & { readonly lease?: string })[]): Promise<void>;
  /** Grants a lease of so many seconds; its id. */
  lease(seconds: number): Promise<string>;
}

/** The key after the last that begins with the prefix: etcd's way to say "all below". */
function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  return end;
}

/** A connection to one member; EtcdSession is one. */
export interface StatusConnection {
  readonly kv: Pick<KVClient, "range" | "txn">;
  readonly leaseClient: Pick<LeaseClient, "leaseGrant">;
  close(): void;
}

/**
 * Over one connection at a time, which is made when it is needed and given up when a call fails. Calls throw etcd3's errors; one that ran
 * out of time may have been done all the same.
 */
export class EtcdStatusStore implements StatusStore {
  #connection: Promise<StatusConnection> | undefined;

  /** @param connect opens a connection, to another member after a failure */
  constructor(private readonly connect: () => Promise<StatusConnection>) {}

  async read(prefix: string): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    const range_end = endOf(prefix);
    let key = Buffer.from(prefix);
    for (;;) {
      const { kvs, more } = await this.#call(({ kv }, options) => kv.range({ key, range_end, limit: PAGE }, options));
      for (const kv of kvs) found.set(kv.key.toString(), kv.value.toString());
      const last = kvs.at(-1);
      if (!more || last === undefined) return found;
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  async write(writes: readonly (KeyWrite & { readonly lease?: string })[]): Promise<void> {
    const success = writes.map(({ key, value, lease }) =>
      value === undefined
        ? { request_delete_range: { key: Buffer.from(key) } }
        : {
            request_put: {
              key: Buffer.from(key),
              value: Buffer.from(value),
              ...(lease === undefined ? {} : { lease }),
            },
          },
    );
    await this.#call(({ kv }, options) => kv.txn({ compare: [], success, failure: [] }, options));
  }

  async lease(seconds: number): Promise<string> {
    return (await this.#call(({ leaseClient }, options) => leaseClient.leaseGrant({ TTL: seconds }, options))).ID;
  }

  close(): void {
    void this.#connection?.then((connection) => connection.close()).catch(() => undefined);
    this.#connection = undefined;
  }

  async #call<T>(act: (connection: StatusConnection, options: { deadline: number }) => Promise<T>): Promise<T> {
    const connection = (this.#connection ??= this.connect());
    try {
      return await act(await connection, { deadline: Date.now() + DEADLINE });
    } catch (error) {
      // Two callers may fail on one connection: the second must not give up what the first has replaced it with.
      if (this.#connection === connection) this.close();
      throw error;
    }
  }
}
