/** What a datastore says before there is an agent: taken into the model at once, told to the agent afterwards. */
import { expect, it } from "vitest";
import { EarlyDatastore } from "../../../src/agent/early.js";
import type { ModelPart } from "../../../src/agent/parts.js";
import { ModelAdapter } from "../../../src/agent/wire/pure.js";
import type { Datastore, DatastoreEvent } from "../../../src/datastore/types.js";
import { ConfigError } from "../../../src/errors.js";
import { isEmpty } from "../../../src/agent/delta.js";
import type { ModelDelta } from "../../../src/model/types.js";
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
  const early = new EarlyDatastore(source, new ModelAdapter("compute1"));
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
  const early = new EarlyDatastore(new Source(new ConfigError("NO", "never")), new ModelAdapter("compute1"));
  await expect(early.start(() => undefined)).rejects.toThrow("never");
});

it("that is stopped while it begins is stopped when it has", async () => {
  const said: string[] = [];
  let begin: () => void = () => undefined;
  const early = new EarlyDatastore(
    {
      description: "slow",
      start: () => new Promise<void>((resolve) => (begin = resolve)).then(() => void said.push("begun")),
      stop: () => Promise.resolve(void said.push("stopped")),
    },
    new ModelAdapter("compute1"),
  );
  const stopping = early.stop();
  begin();
  await stopping;
  await early.stop();
  expect(said).toEqual(["begun", "stopped"]);
});
