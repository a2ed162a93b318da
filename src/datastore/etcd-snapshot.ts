/** Reading whole ranges as of one revision, page by page, without ever holding the process up or its memory full. */
import { setImmediate as turn } from "node:timers/promises";
import type { IKeyValue, IRangeResponse } from "etcd3";
import { after, type KeyRange } from "./etcd-keys.js";
import type { EtcdSession } from "./etcd-session.js";
import type { KeyPut } from "./types.js";

/**
 * Bytes of a page to aim at. etcd looks at every key of the range that is still to come for every page, so that small pages cost it more
 * than they save here; a page of this size is decoded in some 20 ms.
 */
const PAGE_BYTES = 2 * 1024 * 1024;
const FIRST_PAGE = 500;
const MOST_KEYS = 2000;
/** What is handed on in one turn of the event loop: parsing it takes some 10 ms. */
const BATCH_KEYS = 200;
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

/** A page's keys in batches, each in a turn of the event loop of its own. */
export async function* inBatches(kvs: readonly IKeyValue[]): AsyncGenerator<readonly KeyPut[]> {
  let batch: KeyPut[] = [];
  let bytes = 0;
  for (const kv of kvs) {
    batch.push(toPut(kv));
    bytes += kv.value.length;
    if (batch.length < BATCH_KEYS && bytes < BATCH_BYTES) continue;
    yield batch;
    await turn();
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
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
