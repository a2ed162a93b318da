/**
 * The datastore from before there is an agent: it is read, taken into the model and compiled while the kernel verifies the programs. The
 * agent hears of it afterwards, event by event, as if it came then; of what a batch of changes said only what it changed in the model is kept.
 */
import type { Datastore, DatastoreEvent } from "../datastore/types.js";
import type { ModelDelta } from "../model/types.js";
import { EarlyCompiler } from "./early-compiler.js";
import type { CompilerPart, ModelPart } from "./parts.js";

export class EarlyDatastore implements Datastore {
  /** For the agent, in place of those that were given. */
  readonly model: ModelPart;
  readonly compiler: EarlyCompiler;
  readonly #started: Promise<void>;
  readonly #known = new Map<DatastoreEvent, ModelDelta>();
  #waiting: DatastoreEvent[] = [];
  #stopped: Promise<void> | undefined;
  #onEvent: ((event: DatastoreEvent) => void) | undefined;

  /** Begins. What start() is to throw is thrown by it. */
  constructor(
    private readonly datastore: Datastore,
    model: ModelPart,
    compiler: CompilerPart,
  ) {
    this.compiler = new EarlyCompiler(compiler);
    const handle = (event: DatastoreEvent): ModelDelta => {
      const delta = model.handle(event);
      this.compiler.heard(delta);
      return delta;
    };
    this.model = {
      get model() {
        return model.model;
      },
      handle: (event) => this.#taken(event) ?? handle(event),
      problems: () => model.problems(),
    };
    this.#started = datastore.start((event) => {
      if (this.#onEvent !== undefined) return this.#onEvent(event);
      const told: DatastoreEvent = event.type === "changes" ? { type: "changes", changes: [] } : event;
      this.#known.set(told, handle(event));
      this.#waiting.push(told);
      if (event.type === "in-sync") this.compiler.begin(model.model);
    });
    this.#started.catch(() => undefined); // said where it is awaited
  }

  get description(): string {
    return this.datastore.description;
  }

  async start(onEvent: (event: DatastoreEvent) => void): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#onEvent = onEvent;
    for (const event of waiting) onEvent(event);
    await this.#started;
  }

  /** What is about to begin has begun before it is stopped. */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#started.catch(() => undefined).then(() => this.datastore.stop()));
  }

  #taken(event: DatastoreEvent): ModelDelta | undefined {
    const delta = this.#known.get(event);
    this.#known.delete(event);
    return delta;
  }
}
