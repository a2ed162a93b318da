/** What a datastore says before there is an agent: taken into the model at once, told to the agent afterwards. */
import { expect, it } from "vitest";
import { EarlyDatastore } from "../../../src/agent/early.js";
import type { Compiled, ModelPart } from "../../../src/agent/parts.js";
import { CompilerAdapter, ModelAdapter } from "../../../src/agent/wire/pure.js";
import type { Datastore, DatastoreEvent } from "../../../src/datastore/types.js";
import { ConfigError } from "../../../src/errors.js";
import { isEmpty } from "../../../src/agent/delta.js";
import type { EndpointId, ModelDelta } from "../../../src/model/types.js";
import { endpoint } from "../../support/resources.js";

class Source implements Datastore {
  readonly description = "a test's";
  tell: (event: DatastoreEvent) => void = () => undefined;
  stopped = false;
  constructor(private readonly fails?: Error) {}
  start(onEvent: (event: DatastoreEvent) => void): Promise<void> {
    this.tell = onEvent;
    return this.fails === undefined ? Promise.resolve() : Promise.reject(this.fails);
  }
  stop(): Promise<void> {
    this.stopped = true;
    return Promise.resolve();
  }
}

/** Says how it was asked. */
class Counted extends CompilerAdapter {
  readonly asked: string[] = [];
  failures = 0;
  override compile(...[model, delta, moves]: Parameters<CompilerAdapter["compile"]>): Promise<Compiled> {
    this.asked.push(delta === undefined ? "all" : [...delta.endpoints].map((id) => id.split("-").at(-1)).join(" "));
    if (this.failures-- > 0) return Promise.reject(new Error("not now"));
    return super.compile(model, delta, moves);
  }
}

const earlyOf = (source: Datastore, compiler = new Counted()): EarlyDatastore =>
  new EarlyDatastore(source, new ModelAdapter("compute1"), compiler);

const put = (name: string, number: number): DatastoreEvent => {
  const mac = `fa:16:3e:00:00:${number}`;
  const { key, object } = endpoint({ name, node: "compute1", mac, addresses: [`10.65.0.${number}`] });
  return { type: "changes", changes: [{ op: "put", key, value: { object }, origin: "here" }] };
};
const hear = async (early: EarlyDatastore, model: ModelPart): Promise<{ types: string[]; deltas: ModelDelta[] }> => {
  const types: string[] = [];
  const deltas: ModelDelta[] = [];
  await early.start((event) => {
    types.push(event.type);
    deltas.push(model.handle(event));
  });
  return { types, deltas };
};

it("is in the model before anybody listens, and is told in its order with what it changed", async () => {
  const source = new Source();
  const early = earlyOf(source);
  source.tell({ type: "snapshot-begin" });
  source.tell(put("one", 11));
  source.tell({ type: "in-sync" });
  const before = early.model.model.endpoints.size;
  const { types, deltas } = await hear(early, early.model);
  expect(types).toEqual(["snapshot-begin", "changes", "in-sync"]);
  expect(before).toBe(1);
  expect(deltas.map(isEmpty)).toEqual([true, false, true]);
  // Later ones go straight through.
  source.tell(put("two", 12));
  expect(types.at(-1)).toBe("changes");
  expect(deltas.at(-1)?.endpoints.size).toBe(1);
  expect(early.model.model.endpoints.size).toBe(2);
  await early.stop();
  expect(source.stopped).toBe(true);
});

it("what can never work is told to whoever starts it", async () => {
  const early = earlyOf(new Source(new ConfigError("NO", "never")));
  await expect(early.start(() => undefined)).rejects.toThrow("never");
});

it("that is stopped while it begins is stopped when it has", async () => {
  const said: string[] = [];
  let begin: () => void = () => undefined;
  const early = earlyOf({
    description: "slow",
    start: () => new Promise<void>((resolve) => (begin = resolve)).then(() => void said.push("begun")),
    stop: () => Promise.resolve(void said.push("stopped")),
  });
  const stopping = early.stop();
  begin();
  await stopping;
  await early.stop();
  expect(said).toEqual(["begun", "stopped"]);
});

const names = ({ desired }: Compiled): string[] =>
  [...desired.endpoints.values()].map(({ interfaceName }) => interfaceName).sort();
const whole = (source: Source, ...events: DatastoreEvent[]): void => {
  for (const event of [{ type: "snapshot-begin" } as const, ...events, { type: "in-sync" } as const])
    source.tell(event);
};

it("is compiled when it is whole, and what comes after that is compiled when somebody asks", async () => {
  const [source, compiler] = [new Source(), new Counted()];
  const early = earlyOf(source, compiler);
  whole(source, put("one", 11));
  expect(compiler.asked).toEqual(["all"]);
  source.tell(put("two", 12));
  await hear(early, early.model);
  source.tell(put("three", 13));
  const first = await early.compiler.compile(early.model.model, undefined, new Map());
  expect(compiler.asked).toEqual(["all", "two three"]);
  expect(first.delta).toBeUndefined();
  expect(names(first)).toEqual(["tapone", "tapthree", "taptwo"]);
  // From now on it is as if there had been nothing early.
  await early.compiler.compile(early.model.model, undefined, new Map());
  expect(compiler.asked).toEqual(["all", "two three", "all"]);
});

it("is compiled anew when the first attempt failed, when guests move, and when it was told a second time, once", async () => {
  for (const [failures, moves, asked] of [
    [1, new Map(), ["all", "all"]],
    [0, new Map([["compute1-openstack-vm--one-one" as EndpointId, "held" as const]]), ["all", "all"]],
    [0, new Map(), ["all", "one two"]],
  ] as const) {
    const [source, compiler] = [new Source(), new Counted()];
    compiler.failures = failures;
    const early = earlyOf(source, compiler);
    whole(source, put("one", 11));
    whole(source, put("one", 14), put("two", 12));
    await hear(early, early.model);
    const compiled = await early.compiler.compile(early.model.model, undefined, moves);
    expect(compiler.asked).toEqual(asked);
    expect(names(compiled)).toEqual(["tapone", "taptwo"]);
  }
});
