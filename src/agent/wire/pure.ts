/** src/model and src/compile as the agent's loop sees them. */
import { Compiler } from "../../compile/compiler.js";
import type { DatastoreEvent } from "../../datastore/types.js";
import { ModelStore } from "../../model/store.js";
import type { Move } from "../../compile/desired.js";
import type { EndpointId, Model, ModelDelta } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { Compiled, CompilerPart, ModelPart } from "../parts.js";
import { applyInSlices } from "./slices.js";

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

  async compile(
    model: Model,
    delta: ModelDelta | undefined,
    moves: ReadonlyMap<EndpointId, Move> = new Map(),
  ): Promise<Compiled> {
    // A new one takes everything. One that has thrown may hold half of a change and is not asked again.
    const known = delta === undefined ? undefined : this.#compiler;
    this.#compiler = undefined;
    const compiler = known ?? new Compiler();
    compiler.setMoves(moves);
    const changed = await applyInSlices(compiler, model, known === undefined ? undefined : delta);
    this.#compiler = compiler;
    return { desired: compiler.desired, ...(known !== undefined && { delta: changed }) };
  }
  problems(): readonly Problem[] {
    return this.#compiler?.problems() ?? [];
  }
}
