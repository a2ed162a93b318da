/** A model kept up to date from lists of resources, by way of the real store. */
import { ModelStore } from "../../src/model/store.js";
import type { Model } from "../../src/model/types.js";
import type { Problem } from "../../src/problems.js";
import { changes, type Resource } from "./resources.js";

export class TestModel {
  private readonly store: ModelStore;

  constructor(
    hostname: string,
    private resources: readonly Resource[],
  ) {
    this.store = new ModelStore(hostname);
    this.store.apply({ type: "snapshot-begin" });
    this.store.apply({ type: "changes", changes: changes(resources) });
    this.store.apply({ type: "in-sync" });
  }

  get model(): Model {
    return this.store.model;
  }

  problems(): readonly Problem[] {
    return this.store.problems();
  }

  /** Only the differences reach the store, as from a watch. */
  change(next: readonly Resource[]): void {
    const events = changes(next, this.resources);
    this.resources = next;
    this.store.apply({ type: "changes", changes: events });
  }
}
