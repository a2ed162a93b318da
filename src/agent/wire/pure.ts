/** src/model and src/compile as the agent's loop sees them. */
import { Compiler } from "../../compile/compiler.js";
import type { DatastoreEvent } from "../../datastore/types.js";
import { ModelStore } from "../../model/store.js";
import type { Model, ModelDelta } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import { NO_CHANGE } from "../delta.js";
import type { CompilerPart, ModelPart } from "../parts.js";

export class ModelAdapter implements ModelPart {
  readonly #store: ModelStore;

  constructor(hostname: string) {
    this.#store = new ModelStore(hostname);
  }
  get model(): Model {
    return this.#store.model;
  }
  handle(event: DatastoreEvent): ModelDelta {
    this.#store.apply(event);
    return this.#store.takeDelta();
  }
  problems(): readonly Problem[] {
    return this.#store.problems();
  }
}

export class CompilerAdapter implements CompilerPart {
  #compiler: Compiler | undefined;

  compile(model: Model, delta: ModelDelta | undefined): ReturnType<CompilerPart["compile"]> {
    // A new one takes everything. One that has thrown may hold half of a change and is not asked again.
    const compiler = delta === undefined || this.#compiler === undefined ? new Compiler() : this.#compiler;
    const fresh = compiler !== this.#compiler;
    this.#compiler = undefined;
    const changed = compiler.apply(model, delta ?? NO_CHANGE);
    this.#compiler = compiler;
    return { desired: compiler.desired, ...(fresh ? {} : { delta: changed }) };
  }
  problems(): readonly Problem[] {
    return this.#compiler?.problems() ?? [];
  }
}
