import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClassNumber, ControlFlag, LocalFlag } from "../../../../src/abi/layout.gen.js";
import { parse, type Bytes } from "../../../../src/abi/records.js";
import {
  controlBefore,
  controlValue,
  flowShares,
  timeoutsInJiffies,
} from "../../../../src/dataplane/bpf/images-control.js";
import {
  collidingMarks,
  endpointValue,
  localValue,
  markOf,
  receivedPrefixes,
  sourceEntries,
} from "../../../../src/dataplane/bpf/images-endpoints.js";
import { openPlaneValue } from "../../../../src/dataplane/bpf/images-plane.js";
import { policyImage, type PolicyImage } from "../../../../src/dataplane/bpf/images-policy.js";
import { unitePlanes } from "../../../../src/dataplane/bpf/masks.js";
import { sourceClasses } from "../../../../src/dataplane/bpf/images-source-ports.js";
import { hzOfConfig, jiffiesOfTimerList, nearestHz } from "../../../../src/dataplane/bpf/hz.js";
import { coversMapped, withoutMapped } from "../../../../src/dataplane/bpf/mapped.js";
import { ruleText } from "../../../../src/dataplane/bpf/rule-text.js";
import type { CompiledPolicy, DesiredRule, PolicySetKey } from "../../../../src/compile/desired.js";
import { contains } from "../../../../src/model/cidr.js";
import type { Address, Mac, Prefix } from "../../../../src/model/types.js";
import { endpoint, policy, rule } from "../../../support/desired.js";

const setNumber = (key: PolicySetKey): number => key.length;

describe("a policy that changes in a few rules", () => {
  it("is expanded from its former image to what a whole expansion makes of it", () => {
    const pool = Array.from({ length: 24 }, (_, i) =>
      rule({ protocols: [i % 3 === 0 ? 17 : 6], ports: [{ first: 80 + (i % 17), last: 80 + (i % 17) + (i % 5) }] }),
    );
    const numbers = new Map<string, number>();
    const numbering = {
      rule: (one: DesiredRule, of: CompiledPolicy, side: "ingress" | "egress") => {
        const text = ruleText(one, of, side);
        const number = numbers.get(text) ?? numbers.size + 1;
        numbers.set(text, number);
        return number;
      },
      classes: () => [1],
    };
    const plain = ({ ingress, egress, rules }: PolicyImage): unknown =>
      [ingress, egress].map(({ open, stateless, stateful, entries, masks, separate }) => ({
        ...{ open, stateless, stateful, masks, separate },
        entries: [...entries].sort(),
        rules: [...rules].sort(),
      }));
    let amended = 0;
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(fc.nat(pool.length - 1)), { minLength: 2, maxLength: 8 }), (versions) => {
        let former: PolicyImage | undefined;
        for (const picks of versions) {
          const ingress = picks.flatMap((i) => pool[i] ?? []);
          const now: CompiledPolicy = { ...policy("p", {}), ingress, egress: ingress.slice(0, 2) };
          const image = policyImage(now, numbering, former);
          expect(plain(image)).toEqual(plain(policyImage(now, numbering)));
          if (former?.ingress.separate === true && image.ingress.separate) amended++;
          former = image;
        }
      }),
    );
    expect(amended).toBeGreaterThan(20);
  });
});

describe("source ports", () => {
  it("each port has one class, and a rule's classes are exactly its ports", () => {
    const range = fc
      .tuple(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }))
      .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
    fc.assert(
      fc.property(
        fc.array(fc.array(range, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 65535 }),
        (lists, port) => {
          const { prefixes, numbersOf } = sourceClasses(lists);
          const found = prefixes.filter(
            ({ prefix }) => port >>> (16 - prefix.length) === prefix.value >>> (16 - prefix.length),
          );
          expect(found.length).toBeLessThanOrEqual(1);
          for (const list of lists) {
            const inside = list.some(({ first, last }) => first <= port && port <= last);
            expect(numbersOf(list).includes(found[0]?.number ?? 0)).toBe(inside);
          }
        },
      ),
    );
  });
});

describe("a plane that allows everything of a family", () => {
  let numbers = 0;
  const numbering = { rule: () => ++numbers, classes: () => [ClassNumber.CLASS_ANY] };
  const everything = (...rules: Parameters<typeof rule>[0][]): readonly number[] => {
    numbers = 0;
    const image = policyImage(policy("p", { ingress: rules.map((one) => rule(one)) }), numbering);
    return parse("plane", openPlaneValue([image.ingress], "deny")).everything;
  };

  it("names the rule that does", () => {
    expect(everything({ families: [4], protocols: [6] }, { families: [4] })).toEqual([2, 0]);
    expect(everything({ families: [4, 6] })).toEqual([1, 1]);
  });

  it("is not one whose rule names a protocol, a port, or remembers no flow", () => {
    expect(everything({ protocols: [6] }, { ports: [{ first: 0, last: 65535 }] }, { stateless: true })).toEqual([0, 0]);
  });

  it("goes on allowing while its entry goes, and begins to when its entry is there", () => {
    const value = (rules: Parameters<typeof rule>[0][]): Bytes =>
      openPlaneValue([policyImage(policy("p", { ingress: rules.map((one) => rule(one)) }), numbering).ingress], "deny");
    const [all, none] = [value([{ families: [4] }]), value([])];
    expect(parse("plane", unitePlanes(all, none)).everything).toEqual(parse("plane", all).everything);
    expect(parse("plane", unitePlanes(none, all)).everything).toEqual([0, 0]);
  });
});

describe("IPv4 inside IPv6", () => {
  it("an IPv6 prefix of zeros is split so that no IPv4 address is in it", () => {
    const parts = withoutMapped("::/0" as Prefix);
    expect(parts).toHaveLength(96);
    expect(parts.some(coversMapped)).toBe(false);
    for (const address of ["2001:db8::1", "::1", "fe80::1", "::fffe:1:2"] as Address[])
      expect(parts.filter((part) => contains(part, address))).toHaveLength(1);
    expect(withoutMapped("2001:db8::/32" as Prefix)).toEqual(["2001:db8::/32"]);
    expect(withoutMapped("0.0.0.0/0" as Prefix)).toEqual(["0.0.0.0/0"]);
  });
});

describe("endpoints", () => {
  const tap = { name: "tapa", ifindex: 5, mac: "02:00:00:00:00:05" as Mac, mtu: 1450, up: true };
  const a = endpoint("a", { owned: ["10.0.0.1/32"], set: "s" });
  const b = endpoint("b", { owned: ["10.0.0.1/32"], set: "s" });
  const owners = [
    { endpoint: b, number: 2 },
    { endpoint: a, number: 7 },
  ];

  it("carry what the programs ask", () => {
    const value = parse("endpoint", endpointValue(a, tap, new Set(), 9, setNumber));
    expect(value).toMatchObject({ ifindex: 5, generation: 9, policy_set: 1, flags: 1, mtu: 1450, mark: 6 });
    expect(parse("endpoint", endpointValue(a, tap, new Set([6]), 9, setNumber)).mark).toBe(0);
    expect(parse("endpoint", endpointValue(a, undefined, new Set(), 9, setNumber))).toMatchObject({
      ifindex: 0,
      mark: 0,
    });
  });

  it("never share a mark, and no tap's is 0", () => {
    const taps = [1, 2, 1 + 16383].map((ifindex) => ({ ...tap, ifindex }));
    expect([...collidingMarks(taps)]).toEqual([markOf(1)]);
    expect([0, 16382, 16383].map(markOf)).toEqual([1, 16383, 1]);
  });

  it("an address of several goes to the lowest id, or to the one that announced it while it owns it", () => {
    const of = (chosen: number | undefined) =>
      parse("local", localValue("10.0.0.1/32" as Prefix, owners, chosen, false, setNumber) ?? ("" as never));
    expect(of(undefined)).toMatchObject({ endpoint: 7, flags: LocalFlag.LOCAL_SHARED });
    expect(of(2).endpoint).toBe(2);
    expect(of(3).endpoint).toBe(7);
    expect(localValue("10.0.0.1/32" as Prefix, [], 2, false, setNumber)).toBeUndefined();
    const alone = parse(
      "local",
      localValue("10.0.0.1/32" as Prefix, owners.slice(0, 1), 9, true, setNumber) ?? ("" as never),
    );
    expect(alone).toMatchObject({ endpoint: 2, flags: LocalFlag.LOCAL_REMOTE_TOO });
  });

  it("may send from ::/0 without sending IPv4, and from 0.0.0.0/0 without being sent everything", () => {
    const any = endpoint("r", { owned: ["10.0.0.9/32", "0.0.0.0/0", "::/0"], set: "s" });
    expect(sourceEntries(any, 3, setNumber).size).toBe(1 + 1 + 96);
    expect(receivedPrefixes(any)).toEqual(["10.0.0.9/32"]);
  });

  it("keep the fixed address's MAC where a pair repeats it with another", () => {
    const mac = "fa:16:3e:99:99:99" as Mac;
    const both = { ...a, owned: [{ prefix: "10.0.0.1/32" as Prefix, kind: "pair" as const, mac }, ...a.owned] };
    const [value] = sourceEntries(both, 1, setNumber).values();
    expect([...parse("source", value ?? ("" as never)).mac]).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

describe("control", () => {
  it("shares the flow table: every port has something, no port has everything", () => {
    expect(flowShares(262144, 4)).toEqual({ guaranteed: 8192, reserve: 65536, port_limit: 131072, flow_limit: 262144 });
    expect(flowShares(262144, 8000)).toMatchObject({ guaranteed: 16, reserve: 131072 });
    expect(flowShares(1024, 0)).toMatchObject({ guaranteed: 256, port_limit: 512 });
  });

  it("counts timeouts in jiffies of this kernel", () => {
    const timeouts = timeoutsInJiffies({ FLOW_REPLIED: 60 }, 250);
    expect(timeouts).toHaveLength(16);
    expect([timeouts[1], timeouts[2], timeouts[4]]).toEqual([7500, 15000, 108_000_000]);
    expect(timeoutsInJiffies({ FLOW_ESTABLISHED: 1e9 }, 1000)[4]).toBe(0x7fffffff);
  });

  it("is widened before and narrowed after", () => {
    const wish = {
      generation: 3,
      flowLimit: 64,
      hz: 100,
      timeouts: {},
      localPrefixes: false,
      prefixes: false,
      floating: false,
      hostToGuest: true,
    };
    const was = controlValue({ ...wish, endpoints: [1, 9], prefixes: true });
    const before = parse("control", controlBefore(was, controlValue({ ...wish, generation: 4, endpoints: [1] })));
    expect(before).toMatchObject({ generation: 3, endpoint_limit: 10 });
    expect(before.flags & ControlFlag.CONTROL_PREFIXES).not.toBe(0);
  });
});

describe("HZ", () => {
  it("is read from the configuration, or counted", () => {
    expect(hzOfConfig("# CONFIG_HZ_100 is not set\nCONFIG_HZ_250=y\nCONFIG_HZ=250\n")).toBe(250);
    expect(hzOfConfig("CONFIG_HZ_1000=y")).toBeUndefined();
    expect(jiffiesOfTimerList("now at 1708757596052 nsecs\n\n  jiffies: 4295319486\n")).toEqual({
      jiffies: 4295319486n,
      nanoseconds: 1708757596052n,
    });
    expect([nearestHz(248), nearestHz(1003), nearestHz(700)]).toEqual([250, 1000, undefined]);
  });
});

describe("a rule's text", () => {
  it("does not depend on its place, and no two rules share one", () => {
    const one = rule({ protocols: [6], ports: [{ first: 80, last: 80 }], remote: "a b" });
    const two = rule({ protocols: [6], ports: [{ first: 80, last: 80 }], remote: "a" });
    const [first, second] = [policy("np:x/y", { ingress: [one, two] }), policy("np:x/y", { ingress: [two, one] })];
    const texts = (from: typeof first): string[] => from.ingress.map((each) => ruleText(each, from, "ingress"));
    expect(texts(first)).toEqual([...texts(second)].reverse());
    expect(texts(first)[0]).toBe('np:x/y ingress allow proto 6 to 80 remote "a b"');
    expect(new Set(texts(first)).size).toBe(2);
  });
});
