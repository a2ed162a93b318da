import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Limits, NameKind } from "../../../../src/abi/layout.gen.js";
import { parse, type Bytes } from "../../../../src/abi/records.js";
import { cutUtf8, Registry } from "../../../../src/dataplane/bpf/registry.js";

const { NAME_ENDPOINT, NAME_CLASS, NAME_RULE, NAME_POLICY_SET } = NameKind;

/** Does with a registry's writes what the backend does with the map. */
function persist(registry: Registry, map: Map<Bytes, Bytes>): void {
  for (const { key, value } of registry.takeAdditions()) map.set(key, value);
  for (const key of registry.takeRemovals()) map.delete(key);
}

describe("numbers", () => {
  it("stay the same for the same text, across restarts, whatever the text", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ unit: "binary", maxLength: 400 }), { maxLength: 30 }), (texts) => {
        const map = new Map<Bytes, Bytes>();
        const registry = new Registry();
        const numbers = texts.map((text) => registry.number(NAME_CLASS, text));
        persist(registry, map);
        const again = Registry.read(map);
        expect(texts.map((text) => again.number(NAME_CLASS, text))).toEqual(numbers);
        expect(new Set(numbers).size).toBe(texts.length);
        expect(again.takeAdditions()).toEqual([]);
      }),
    );
  });

  it("tell texts apart that are cut to the same bytes", () => {
    const registry = new Registry();
    const long = "x".repeat(Limits.NAME_TEXT);
    expect(registry.number(NAME_RULE, `${long}a`)).not.toBe(registry.number(NAME_RULE, `${long}b`));
  });

  it("are dense from 1 for endpoints, and given out again only once nothing refers to them", () => {
    const registry = new Registry();
    expect(["a", "b", "c"].map((id) => registry.number(NAME_ENDPOINT, id))).toEqual([1, 2, 3]);
    registry.release(NAME_ENDPOINT, 2);
    expect(registry.number(NAME_ENDPOINT, "d")).toBe(4);
    registry.takeRemovals();
    expect(registry.number(NAME_ENDPOINT, "e")).toBe(2);
  });

  it("run out with an error and without harm", () => {
    const registry = new Registry();
    for (let i = 1; i < Limits.MAX_ENDPOINTS; i++) registry.number(NAME_ENDPOINT, `e${i}`);
    expect(() => registry.number(NAME_ENDPOINT, "one more")).toThrow(/more than 8191 endpoints/);
    expect(registry.number(NAME_ENDPOINT, "e5")).toBe(5);
    expect(registry.number(NAME_CLASS, "another kind")).toBe(16);
  });

  it("move on for a text that needs a new one, and the former is not lost in a crash", () => {
    const map = new Map<Bytes, Bytes>();
    const registry = new Registry();
    const former = registry.number(NAME_POLICY_SET, "s");
    const renewed = registry.renew(NAME_POLICY_SET, "s");
    expect(renewed).toEqual({ number: former + 1, former });
    persist(registry, map);
    const crashed = Registry.read(map);
    const found = crashed.number(NAME_POLICY_SET, "s");
    expect([former, former + 1]).toContain(found);
    expect(crashed.leftOver(NAME_POLICY_SET)).toEqual([found === former ? former + 1 : former]);
    expect(crashed.number(NAME_POLICY_SET, "other")).toBe(former + 2);
  });

  it("that the kernel uses without a name are kept until they are released", () => {
    const registry = Registry.read([]);
    registry.reserve(NAME_POLICY_SET, 1);
    expect(registry.number(NAME_POLICY_SET, "s")).toBe(2);
    expect(registry.leftOver(NAME_POLICY_SET)).toEqual([1]);
  });
});

describe("names", () => {
  it("are cut at a character", () => {
    expect(cutUtf8("aé", 2).toString()).toBe("a");
    expect(cutUtf8("a€b", 3).toString()).toBe("a");
    expect(cutUtf8("aéb", 3).toString()).toBe("aé");
    const registry = new Registry();
    registry.number(NAME_RULE, "é".repeat(200));
    const [addition] = registry.takeAdditions();
    const name = parse("name", addition?.value ?? ("" as Bytes));
    expect(Buffer.from(name.text).subarray(0, name.length).toString("utf8")).toBe("é".repeat(116));
  });
});
