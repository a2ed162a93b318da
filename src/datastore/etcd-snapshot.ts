/** Reading whole ranges as of one revision, page by page, without ever holding the process up or its memory full. */
import { setImmediate as turn } from "node:timers/promises";
import type { IKeyValue, IRangeResponse } from "etcd3";
import { after, type KeyRange } from "./etcd-keys.js";
import type { EtcdSession } from "./etcd-session.js";
import type { KeyPut } from "./types.js";

/**
 * Bytes of a page to aim at. etcd looks at every key of the range that is still to come for every page, so that small pages cost it more
 * than they save here; a page of this size is decoded in some 10 ms, and one is always held while the next is worked on.
 */
const PAGE_BYTES = 1024 * 1024;
const FIRST_PAGE = 500;
const MOST_KEYS = 2000;
/** Milliseconds that whoever takes a batch should need for it: in one turn of the event loop. */
const TURN = 8;
/** Keys of the first batch: nothing has been compiled by the JIT then, and a policy takes ten times as long as an endpoint. */
const FIRST_BATCH = 20;
const MOST_IN_A_BATCH = 500;
const BATCH_BYTES = 256 * 1024;

/** @param revision as decimal text; every page is of it @throws etcd3's errors; EtcdError "…compacted" when the revision is gone meanwhile */
export async function* readRange(
  session: EtcdSession,
  { start, end }: KeyRange,
  revision: string,
): AsyncGenerator<readonly IKeyValue[]> {
  const ask = (key: Buffer, limit: number): Promise<IRangeResponse> =>
    session.kv.range({ key, range_end: end, limit, revision });
  let limit = FIRST_PAGE;
  let next: Promise<IRangeResponse> | undefined = ask(start, limit);
  while (next !== undefined) {
    const { kvs, more }: IRangeResponse = await next;
    const last = kvs.at(-1);
    limit = nextLimit(limit, kvs);
    // Asked for before this page is worked on: etcd works at the same time.
    next = more && last !== undefined ? ask(after(last.key), limit) : undefined;
    // It is awaited in the next round; should the consumer stop before that, its failure is nobody's.
    next?.catch(() => undefined);
    yield kvs;
  }
}

/** Cuts pages into batches, each for a turn of the event loop of its own, as large as the last ones' taker could take in time. */
export class Batches {
  #size = FIRST_BATCH;
  readonly #now: () => number;

  /** @param now milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  async *of(kvs: readonly IKeyValue[]): AsyncGenerator<readonly KeyPut[]> {
    let batch: KeyPut[] = [];
    let bytes = 0;
    let began = this.#now();
    for (const [at, kv] of kvs.entries()) {
      batch.push(toPut(kv));
      bytes += kv.value.length;
      if (batch.length < this.#size && bytes < BATCH_BYTES && at < kvs.length - 1) continue;
      yield batch;
      this.#size = nextSize(batch.length, this.#now() - began);
      await turn();
      [batch, bytes, began] = [[], 0, this.#now()];
    }
  }
}

/** At most twice the last one: the first of a kind is slower than the rest, one that a pause fell into is no measure. */
function nextSize(taken: number, milliseconds: number): number {
  const fitting = milliseconds <= 0 ? MOST_IN_A_BATCH : Math.floor((taken * TURN) / milliseconds);
  return Math.max(1, Math.min(fitting, taken * 2, MOST_IN_A_BATCH));
}

export function toPut({ key, value, mod_revision }: IKeyValue): KeyPut {
  return {
    op: "put",
    key: key.toString("utf8"),
    value: { text: value.toString("utf8") },
    origin: `etcd revision ${mod_revision}`,
  };
}

function nextLimit(limit: number, kvs: readonly IKeyValue[]): number {
  const bytes = kvs.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
  if (bytes === 0) return limit;
  // Never much more at once than the last page suggests: what follows may be larger.
  return Math.max(20, Math.min(MOST_KEYS, limit * 4, Math.floor((PAGE_BYTES * kvs.length) / bytes)));
}
