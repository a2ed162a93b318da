import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { floatingIps } from "../../../src/model/floating.js";
import type { Address, EndpointId, LocalWorkload, Prefix } from "../../../src/model/types.js";

type Claimant = Pick<LocalWorkload, "id" | "key" | "fixed" | "pairs" | "nats">;

const claimant = (id: string, fixed: readonly string[], nats: readonly [string, string][]): Claimant => ({
  id: id as EndpointId,
  key: `key of ${id}`,
  fixed: fixed.map((address) => `${address}/${address.includes(":") ? 128 : 32}` as Prefix),
  pairs: [],
  nats: nats.map(([external, internal]) => ({ external: external as Address, internal: internal as Address })),
});
const NOBODY = (): boolean => false;

const told = (claimants: readonly Claimant[], isOwned: (address: Address) => boolean = NOBODY) => {
  const { byEndpoint, problems } = floatingIps(claimants, isOwned);
  return {
    leads: Object.fromEntries(
      [...byEndpoint].flatMap(([id, nats]) => nats.map(({ external, internal }) => [external, `${internal} of ${id}`])),
    ),
    codes: problems.map(({ code, where }) => `${code} ${where}`),
  };
};

describe("a floating IP", () => {
  it("leads to an address of its endpoint, several to one", () =>
    expect(
      told([
        claimant(
          "a",
          ["10.0.0.1", "2001:db8::1"],
          [
            ["172.24.4.1", "10.0.0.1"],
            ["172.24.4.2", "10.0.0.1"],
            ["2001:db8:f::1", "2001:db8::1"],
          ],
        ),
      ]),
    ).toEqual({
      leads: {
        "172.24.4.1": "10.0.0.1 of a",
        "172.24.4.2": "10.0.0.1 of a",
        "2001:db8:f::1": "2001:db8::1 of a",
      },
      codes: [],
    }));

  it.each<[string, readonly [string, string], string]>([
    ["an address that is not the endpoint's", ["172.24.4.1", "10.0.0.9"], "FLOATING_IP_NOT_ITS_OWN"],
    ["loopback", ["127.0.0.1", "10.0.0.1"], "FLOATING_IP_IMPOSSIBLE"],
    ["the metadata address", ["169.254.169.254", "10.0.0.1"], "FLOATING_IP_IMPOSSIBLE"],
    ["multicast", ["239.1.1.1", "10.0.0.1"], "FLOATING_IP_IMPOSSIBLE"],
    ["what an endpoint has by itself", ["10.0.0.2", "10.0.0.1"], "FLOATING_IP_IN_USE"],
  ])("that is or stands for %s is not in force", (_, nat, code) =>
    expect(told([claimant("a", ["10.0.0.1"], [[...nat]])], (address) => address === "10.0.0.2")).toEqual({
      leads: {},
      codes: [`${code} key of a ${nat[0]}`],
    }),
  );

  it("that two claim leads to the lowest address, then to the lowest endpoint, in whatever order they come", () => {
    const all = [
      claimant("b", ["10.0.0.1"], [["172.24.4.1", "10.0.0.1"]]),
      claimant(
        "a",
        ["10.0.0.1", "10.0.0.2"],
        [
          ["172.24.4.1", "10.0.0.2"],
          ["172.24.4.1", "10.0.0.1"],
          ["172.24.4.1", "10.0.0.1"],
        ],
      ),
    ];
    for (const some of [all, [...all].reverse()])
      expect(told(some)).toEqual({
        leads: { "172.24.4.1": "10.0.0.1 of a" },
        codes: ["FLOATING_IP_TWICE key of b 172.24.4.1", "FLOATING_IP_TWICE key of a 172.24.4.1"],
      });
  });

  it("never leads to two, to nobody's address, or away from who has it; order does not matter", () => {
    const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3");
    const external = fc.constantFrom("172.24.4.1", "172.24.4.2", "10.0.0.2");
    const arb = fc.uniqueArray(
      fc.record({
        id: fc.constantFrom("a", "b", "c"),
        fixed: fc.array(address),
        nats: fc.array(fc.tuple(external, address)),
      }),
      { selector: ({ id }) => id, maxLength: 3 },
    );
    fc.assert(
      fc.property(arb, (list) => {
        const claimants = list.map(({ id, fixed, nats }) => claimant(id, fixed, nats));
        const owned = new Set<string>(list.flatMap(({ fixed }) => fixed));
        const { byEndpoint, problems } = floatingIps(claimants, (one) => owned.has(one));
        const all = [...byEndpoint].flatMap(([id, nats]) => nats.map((nat) => ({ id, ...nat })));
        expect(new Set(all.map((one) => one.external)).size).toBe(all.length);
        for (const { id, internal, external } of all) {
          expect(owned.has(external)).toBe(false);
          expect(list.some((one) => one.id === id && one.fixed.some((own) => own === internal))).toBe(true);
        }
        const back = floatingIps([...claimants].reverse(), (one) => owned.has(one));
        expect([...back.byEndpoint].sort()).toEqual([...byEndpoint].sort());
        expect(back.problems.length).toBe(problems.length);
      }),
    );
  });
});
