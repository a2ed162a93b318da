/**
 * The model: datastore events in, deltas out. Remembers the last good version of every key (D5), forgets what a snapshot no
 * longer holds, and never lets one bad value cost another. Pure: no effects, nothing throws on anything a datastore may hold.
 */
import type { DatastoreEvent, KeyPut } from "../datastore/types.js";
import type { Problem } from "../problems.js";
import { BigMap } from "./big-map.js";
import { DeltaBuilder } from "./delta.js";
import { parseKey } from "./keys.js";
import { ProblemBook } from "./problem-book.js";
import { problemAt } from "./report.js";
import { makeShelves } from "./shelves.js";
import { Tables } from "./tables.js";
import type { Endpoint, LocalWorkload, Model, ModelDelta } from "./types.js";

export { isEmptyDelta } from "./delta.js";

/** Whether an endpoint of the model is one of this host, kept in full. */
export function isLocal(endpoint: Endpoint | LocalWorkload): endpoint is LocalWorkload {
  return "interfaceName" in endpoint;
}

export class ModelStore {
  private readonly tables = new Tables();
  private readonly book = new ProblemBook();
  private readonly shelves: ReturnType<typeof makeShelves>;
  /** Every key that concerns us, and the snapshot that last held it. */
  private readonly present = new BigMap<string, number>();
  private snapshot = 0;
  private synced = false;
  private source: readonly Problem[] = [];
  private pending = new DeltaBuilder();

  /** @param hostname as in spec.node of the endpoints that shall be kept in full */
  constructor(readonly hostname: string) {
    this.shelves = makeShelves(this.tables, this.book, hostname);
  }

  /** True from in-sync until the datastore is lost or begins a new snapshot. */
  get inSync(): boolean {
    return this.synced;
  }

  /** Live: its maps are the store's own and later events show in them; only the store changes them. */
  get model(): Model {
    return this.tables.view(this.hostname);
  }

  /** What is wrong now: of the source itself, and of the values. */
  problems(): readonly Problem[] {
    return [...this.source, ...this.book.list()];
  }

  /** Takes an event in; returns what it changed. */
  apply(event: DatastoreEvent): ModelDelta {
    switch (event.type) {
      case "snapshot-begin":
        this.snapshot++;
        this.synced = false;
        break;
      case "changes":
        for (const change of event.changes) {
          if (change.op === "put") this.put(change);
          else this.remove(change.key);
        }
        break;
      case "in-sync":
        for (const [key, snapshot] of this.present) if (snapshot !== this.snapshot) this.remove(key);
        this.synced = true;
        break;
      case "lost":
      case "held":
        this.synced = false;
        break;
      case "problems":
        this.source = event.problems;
        break;
    }
    const delta = this.tables.finish();
    this.pending.add(delta);
    return delta;
  }

  /** Everything that changed since the last call. */
  takeDelta(): ModelDelta {
    const taken = this.pending;
    this.pending = new DeltaBuilder();
    return taken;
  }

  private put({ key, value, origin }: KeyPut): void {
    const parsed = parseKey(key);
    if (parsed.kind === "ignored") return;
    this.present.set(key, this.snapshot);
    if (parsed.kind === "not enforced" || parsed.kind === "malformed") {
      const code = parsed.kind === "malformed" ? "BAD_KEY" : "NOT_SUPPORTED";
      this.book.note(key, problemAt(key, origin, { path: "", code, what: parsed.reason }, "nothing of it is enforced"));
      return;
    }
    this.shelves[parsed.kind].put({ key, origin, name: parsed.name, namespace: parsed.namespace }, value);
  }

  private remove(key: string): void {
    if (!this.present.delete(key)) return;
    this.book.forget(key);
    const parsed = parseKey(key);
    if (parsed.kind === "ignored" || parsed.kind === "not enforced" || parsed.kind === "malformed") return;
    this.shelves[parsed.kind].remove({ key, origin: key, name: parsed.name, namespace: parsed.namespace });
  }
}
