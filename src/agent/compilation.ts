/** What the model comes to: compiled when the gate is open and something changed; and what of it has not been written yet. */
import type { DesiredDelta, DesiredState } from "../compile/desired.js";
import { DeltaBuilder } from "../model/delta.js";
import type { ModelDelta } from "../model/types.js";
import { isEmpty, NO_DESIRED_CHANGE } from "./delta.js";
import type { Gate } from "./gate.js";
import { Migrations } from "./migrations.js";
import type { AgentParts } from "./parts.js";
import { asError } from "./round.js";

/** Milliseconds between two looks at whether the guest of a live migration has come. */
const LISTEN = 50;

export class Compilation {
  readonly #migrations = new Migrations();
  #cancelMoves: (() => void) | undefined;
  #stopped = false;
  /** What to compile. Undefined: everything may have changed. */
  #modelDelta: DeltaBuilder | undefined;
  #desired: DesiredState | undefined;
  /** What to write. Undefined: the next pass reads back in full. */
  #desiredDelta: DesiredDelta | undefined;

  /** @param mark called when there is something to compile of which the model does not speak */
  constructor(
    private readonly parts: Pick<AgentParts, "model" | "compiler" | "links" | "clock" | "log">,
    private readonly gate: Gate,
    private readonly mark: () => void,
  ) {}

  /** What is to be in force; undefined: nothing has been compiled yet, or it has to be compiled anew. */
  get desired(): DesiredState | undefined {
    return this.#desired;
  }

  heard(delta: ModelDelta): void {
    this.#modelDelta?.add(delta);
  }

  /** What differs from what was written last; undefined: anything. Until written() is called it is unknown. */
  take(): DesiredDelta | undefined {
    const delta = this.#desiredDelta;
    this.#desiredDelta = undefined;
    return delta;
  }

  /** All that was desired is in force. */
  written(): void {
    if (this.#desired !== undefined) this.#desiredDelta = NO_DESIRED_CHANGE;
  }

  /**
   * What the compiler threw is returned; as it may have left half a state behind, nothing is to be written until it has succeeded: what is
   * enforced stays enforced, and new taps are only blocked.
   */
  async compile(): Promise<Error | undefined> {
    const { model, compiler, log, clock } = this.parts;
    if (this.gate.closed(model.model.cluster) !== undefined) return undefined;
    for (const id of this.#migrations.update(model.model, this.#spoke(), clock.now()))
      this.#modelDelta?.endpoints.add(id);
    this.#armMoves();
    if (this.#desired !== undefined && this.#modelDelta !== undefined && isEmpty(this.#modelDelta)) return undefined;
    const since = this.#desired === undefined ? undefined : this.#modelDelta;
    // Big changes are compiled in several turns of the event loop; what comes meanwhile is compiled next.
    this.#modelDelta = new DeltaBuilder();
    try {
      const { desired, delta } = await compiler.compile(model.model, since, this.#migrations.moves);
      if (this.gate.closed(model.model.cluster) !== undefined) {
        // Half of a snapshot may have got into it.
        this.#forget();
        return undefined;
      }
      this.#desiredDelta = this.#desired === undefined || this.#desiredDelta === undefined ? undefined : delta;
      this.#desired = desired;
    } catch (error) {
      log.error({ err: asError(error) }, "compiling failed: what is enforced stays as it is");
      this.#forget();
      return asError(error);
    }
    this.gate.applied(model.model.cluster);
    return undefined;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelMoves?.();
  }

  /** Asks the kernel at most once. */
  #spoke(): (interfaceName: string) => boolean {
    let known: ReadonlySet<string> | undefined;
    return (name) => (known ??= this.parts.links.speakers?.() ?? new Set()).has(name);
  }

  /** A guest that is awaited is listened to, and a route that was preferred long enough becomes one like any other. */
  #armMoves(): void {
    const { clock } = this.parts;
    this.#cancelMoves?.();
    const wait = this.#migrations.wait(LISTEN, clock.now());
    if (wait === undefined || this.#stopped) return;
    this.#cancelMoves = clock.after(wait, () => {
      if (this.#migrations.isDue(this.#spoke(), clock.now())) this.mark();
      else this.#armMoves();
    });
  }

  /** Nothing is written until everything has been compiled anew. */
  #forget(): void {
    this.#desired = undefined;
    this.#desiredDelta = undefined;
    this.#modelDelta = undefined;
  }
}
