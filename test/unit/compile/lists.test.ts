import { expect, it } from "vitest";
import type { ClassRecord } from "../../../src/compile/classes.js";
import { ListPool } from "../../../src/compile/lists.js";

const record = (key: string): ClassRecord => ({ key }) as ClassRecord;
const [a, b, c] = ["a", "b", "c"].map(record) as [ClassRecord, ClassRecord, ClassRecord];

it("gives one object for equal lists, whatever their order", () => {
  const pool = new ListPool();
  expect(pool.intern([b, a, b])).toBe(pool.intern([a, b]));
  expect(pool.intern([a, b]).classes).toEqual(["a", "b"]);
  expect(pool.intern([a], true)).not.toBe(pool.intern([a]));
  expect(pool.intern([])).toBe(pool.intern([]));
});

it("forgets what nobody holds, and only that", () => {
  const pool = new ListPool();
  const [short, long, other, complete] = [
    pool.intern([a]),
    pool.intern([a, b]),
    pool.intern([a, b, c]),
    pool.intern([a, b], true),
  ];
  pool.move(undefined, short);
  pool.move(undefined, other);
  pool.sweep();
  expect(pool.intern([a])).toBe(short);
  expect(pool.intern([a, b, c])).toBe(other);
  expect(pool.intern([a, b])).not.toBe(long);
  expect(pool.intern([a, b], true)).not.toBe(complete);
  pool.move(other, undefined);
  pool.sweep();
  expect(pool.intern([a, b, c])).not.toBe(other);
  expect(pool.intern([a])).toBe(short);
});

it("does not copy a key for each list: many prefixes of one class share one that names them all", () => {
  const long = record("x".repeat(5_000_000));
  const pool = new ListPool();
  const before = process.memoryUsage().external + process.memoryUsage().heapUsed;
  const lists = Array.from({ length: 300 }, (_, i) => pool.intern([long, record(String(i))]));
  expect(process.memoryUsage().external + process.memoryUsage().heapUsed - before).toBeLessThan(500e6);
  expect(new Set(lists).size).toBe(300);
});
