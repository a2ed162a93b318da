import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StatusQueue, type KeyWrite, type Value } from "../../../src/status/queue.js";

/** An etcd that takes everything at once; the events that a watcher sees. */
function drain(queue: StatusQueue, events: string[] = [], limit = 128): string[] {
  for (let batch = queue.next(limit); batch.length > 0; batch = queue.next(limit)) {
    events.push(...batch.map(({ key, value }) => `${key}=${value ?? "-"}`));
    queue.done(batch);
  }
  return events;
}

const queueHolding = (actual: Record<string, string>): StatusQueue => {
  const queue = new StatusQueue();
  queue.found(new Map(Object.entries(actual)));
  return queue;
};

describe("status queue", () => {
  it("a flap is written as such: down, then up", () => {
    const queue = queueHolding({ a: "up" });
    queue.put("a", "down");
    queue.put("a", "up");
    expect(queue.next(10)).toEqual([{ key: "a", value: "down" }]);
    expect(drain(queue)).toEqual(["a=down", "a=up"]);
  });

  it("many flaps while nothing can be written become one", () => {
    const queue = queueHolding({ a: "up" });
    for (let i = 0; i < 1000; i++) {
      queue.put("a", "down");
      queue.put("a", "up");
    }
    expect(drain(queue)).toEqual(["a=down", "a=up"]);
  });

  it("a guest that is deleted and made again is seen to go", () => {
    const queue = queueHolding({ a: "up" });
    queue.put("a", "down");
    queue.put("a", undefined);
    queue.put("a", "up");
    expect(drain(queue)).toEqual(["a=-", "a=up"]);
  });

  it("what is there already is not written again, and a repeated word is one", () => {
    const queue = queueHolding({ a: "up" });
    queue.put("a", "up");
    queue.put("b", "down");
    queue.put("b", "down");
    expect(drain(queue)).toEqual(["b=down"]);
  });

  it("words that came before the datastore was read are compared with what is there", () => {
    const queue = new StatusQueue();
    queue.put("a", "up");
    queue.put("b", "up");
    queue.found(
      new Map([
        ["a", "up"],
        ["b", "down"],
      ]),
    );
    expect(drain(queue)).toEqual(["b=up"]);
  });

  it("left-over keys go once all that is wanted is known, not before", () => {
    const queue = queueHolding({ a: "up", old: "up" });
    queue.put("a", "up");
    expect(drain(queue)).toEqual([]);
    queue.complete();
    expect(drain(queue)).toEqual(["old=-"]);
    queue.found(
      new Map([
        ["a", "up"],
        ["other", "up"],
      ]),
    );
    expect(drain(queue)).toEqual(["other=-"]);
  });

  it("a datastore that lost everything is filled again", () => {
    const queue = queueHolding({});
    queue.put("a", "up");
    drain(queue);
    queue.found(new Map());
    expect(drain(queue)).toEqual(["a=up"]);
  });

  it("guests that come and go while nothing can be written leave nothing behind", () => {
    const queue = queueHolding({});
    for (let i = 0; i < 1000; i++) {
      queue.put(`k${i}`, "up");
      queue.put(`k${i}`, undefined);
    }
    expect(queue.size).toBe(0);
  });

  it("a batch holds each key once, and those that have waited longest", () => {
    const queue = queueHolding({});
    for (const key of ["a", "b", "c"]) queue.put(key, "down");
    queue.put("a", "up");
    expect(queue.next(2).map(({ key }) => key)).toEqual(["a", "b"]);
    queue.done(queue.next(2));
    expect(drain(queue)).toEqual(["c=down", "a=up"]);
  });

  it("whatever happens in whatever order, what is there in the end is what was wanted last, and at most two values wait a key", () => {
    const key = fc.constantFrom("a", "b", "c");
    const value = fc.constantFrom<Value>("up", "down", "error", undefined);
    const step = fc.oneof(
      fc.record({ do: fc.constant("put" as const), key, value }),
      fc.record({ do: fc.constantFrom("begin", "end", "lose", "fail", "complete" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new StatusQueue();
        let etcd = new Map<string, string>([
          ["a", "up"],
          ["old", "up"],
        ]);
        let flight: readonly KeyWrite[] = [];
        const last = new Map<string, Value>();
        const take = (batch: readonly KeyWrite[]): void => {
          for (const { key: name, value: text } of batch)
            if (text === undefined) etcd.delete(name);
            else etcd.set(name, text);
        };
        queue.found(etcd);
        for (const it of steps) {
          if (it.do === "put") {
            queue.put(it.key, it.value);
            last.set(it.key, it.value);
          } else if (it.do === "begin" && flight.length === 0) flight = queue.next(2);
          else if (it.do === "end") {
            take(flight);
            queue.done(flight);
            flight = [];
          } else if (it.do === "fail") {
            take(flight); // done all the same, but nobody was told
            flight = [];
            queue.found(etcd);
          } else if (it.do === "lose" && flight.length === 0) {
            etcd = new Map();
            queue.found(etcd);
          } else if (it.do === "complete") queue.complete();
        }
        take(flight);
        queue.done(flight);
        queue.complete();
        let writes = 0;
        for (let batch = queue.next(2); batch.length > 0; batch = queue.next(2)) {
          take(batch);
          queue.done(batch);
          expect((writes += batch.length)).toBeLessThanOrEqual(8);
        }
        expect(Object.fromEntries(etcd)).toEqual(
          Object.fromEntries([...last].filter(([, text]) => text !== undefined)),
        );
      }),
    );
  });
});
