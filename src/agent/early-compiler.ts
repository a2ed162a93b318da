/** A compiler that has begun before it is asked: what the datastore said while the kernel verified the programs is compiled when they are there. */
import type { Move } from "../compile/desired.js";
import { DeltaBuilder } from "../model/delta.js";
import type { EndpointId, Model, ModelDelta } from "../model/types.js";
import type { Compiled, CompilerPart } from "./parts.js";
import type { Problem } from "../problems.js";

export class EarlyCompiler implements CompilerPart {
  /** What it came to; undefined: it failed, and will be said when it fails again. */
  #early: Promise<Compiled | undefined> | undefined;
  /** What the model heard since. */
  #since = new DeltaBuilder();

  constructor(private readonly compiler: CompilerPart) {}

  /** The model is whole; the first time is what counts. */
  begin(model: Model): void {
    if (this.#early !== undefined) return;
    this.#since = new DeltaBuilder();
    this.#early = this.#compileAll(model);
  }

  heard(delta: ModelDelta): void {
    if (this.#early !== undefined) this.#since.add(delta);
  }

  async compile(model: Model, delta: ModelDelta | undefined, moves: ReadonlyMap<EndpointId, Move>): Promise<Compiled> {
    const [early, since] = [this.#early, this.#since];
    this.#early = undefined;
    // Two at once would be two at one state.
    const compiled = await early;
    if (compiled === undefined || delta !== undefined || moves.size > 0)
      return this.compiler.compile(model, delta, moves);
    const { desired } = await this.compiler.compile(model, since, moves);
    return { desired };
  }

  problems(): readonly Problem[] {
    return this.compiler.problems();
  }

  async #compileAll(model: Model): Promise<Compiled | undefined> {
    try {
      return await this.compiler.compile(model, undefined, new Map());
    } catch {
      return undefined;
    }
  }
}
