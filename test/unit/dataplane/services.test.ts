/** The metadata service's NAT as text, and what of it is found again. */
import { describe, expect, it } from "vitest";
import { renderServices, serviceStands, type ServicesWish } from "../../../src/dataplane/services/rules.js";
import { renderIptablesServices } from "../../../src/dataplane/services/services-iptables.js";
import { changedFloats, floatsOf, hairpins } from "../../../src/dataplane/services/floating.js";
import { isRedirected } from "../../../src/dataplane/conntrack/redirected.js";
import {
  ensureServices,
  floatingProblems,
  floatsIn,
  knownByTap,
  metadataProblems,
} from "../../../src/dataplane/services/services.js";
import { serviceAddress } from "../../../src/config/kinds.js";
import type { Runner } from "../../../src/dataplane/run.js";
import type { Address } from "../../../src/model/types.js";
import { endpoint, stateOf } from "../../support/desired.js";

const wish = (v4?: string, v6?: string, known: readonly [string, string][] = []): ServicesWish => ({
  taps: { prefixes: ["tap", "vnet"], excluded: ["tapdhcp*"] },
  metadata: {
    port: 8775,
    addresses: { ...(v4 === undefined ? {} : { 4: v4 as Address }), ...(v6 === undefined ? {} : { 6: v6 as Address }) },
  },
  knownBy: new Map(known as readonly [string, Address][]),
  floating: new Map(),
});
const WISH = wish("127.0.0.1", "::", [["tap1", "2001:db8::1"]]);

/** `nft -j list table` of what renderServices made. */
function listing(of: 4 | 6, from: ServicesWish): string {
  const chains = [...renderServices(from, of).matchAll(/ {2}chain (\w+) \{\n.*?hook (\w+)[^\n]*\n(.*?)\n {2}\}/gs)];
  return JSON.stringify({
    nftables: [
      ...(of === 6 ? [{ map: { name: "known_by", elem: [...from.knownBy] } }] : []),
      ...chains.map(([, name, hook]) => ({ chain: { name, hook } })),
      ...chains.flatMap(([, chain, , rules = ""]) =>
        rules.split("\n").map((rule) => ({ rule: { chain, comment: /comment "([^"]+)"/.exec(rule)?.[1] } })),
      ),
    ],
  });
}

describe("nft", () => {
  it("translates what asks for the address by a tap, and nothing else", () => {
    const text = renderServices(WISH, 4);
    expect(text).toContain('iifname "tapdhcp*" return');
    expect(text).toContain('iifname "tap*" ip daddr 169.254.169.254 tcp dport 80 dnat to 127.0.0.1:8775');
    expect(text).toContain('iifname "vnet*" ip daddr 169.254.169.254 tcp dport 80 dnat to 127.0.0.1:8775');
  });

  it("over IPv6 to whoever listens on all addresses, or on one; a guest is known by its own", () => {
    expect(renderServices(WISH, 6)).toContain("ip6 daddr fe80::a9fe:a9fe tcp dport 80 redirect to :8775");
    expect(renderServices(WISH, 6)).toContain('elements = { "tap1" : 2001:db8::1 }');
    expect(renderServices(wish(undefined, "2001:db8::53"), 6)).toContain("dnat to [2001:db8::53]:8775");
  });

  it("is gone where nobody serves", () =>
    expect(renderServices(wish(), 4)).toBe("table ip torbie_services\ndelete table ip torbie_services\n"));

  it("is known again as it was left, and not when anything differs", () => {
    for (const of of [4, 6] as const) {
      expect(serviceStands(listing(of, WISH), WISH, of)).toBe(true);
      expect(serviceStands(listing(of, wish("127.0.0.2", "2001:db8::9")), WISH, of)).toBe(false);
      expect(serviceStands(JSON.stringify({ nftables: [] }), WISH, of)).toBe(false);
    }
    expect(serviceStands(listing(6, WISH), wish("127.0.0.1", "::", [["tap2", "2001:db8::1"]]), 6)).toBe(false);
    expect(serviceStands(listing(6, WISH), wish("127.0.0.1", "::"), 6)).toBe(false);
  });

  it("is not written when it stands, and iptables does it where nft is missing", async () => {
    const called: string[] = [];
    const run: Runner = (file, words) => {
      called.push(`${file} ${words.join(" ")}`);
      const of = words.includes("ip6") ? 6 : 4;
      return Promise.resolve({ status: 0, stdout: words.includes("list") ? listing(of, WISH) : "", stderr: "" });
    };
    expect(await ensureServices(WISH, run)).toMatchObject({ writes: 0 });
    expect(called.filter((line) => line.includes("-f"))).toEqual([]);
    const missing: Runner = (file, words) => {
      called.push(`${file} ${words.join(" ")}`);
      return Promise.resolve({
        status: file === "nft" ? undefined : words.includes("-C") ? 1 : 0,
        stdout: "",
        stderr: "",
      });
    };
    expect(await ensureServices(WISH, missing)).toMatchObject({ writes: 10 });
    expect(called).toContain("iptables -w -t nat -I PREROUTING 1 -j torbie-services");
  });
});

it("iptables says the same", () => {
  expect(renderIptablesServices(WISH, 4)).toContain(
    "-A torbie-services -i tap+ -d 169.254.169.254 -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1:8775",
  );
  expect(renderIptablesServices(WISH, 6)).toContain(
    "-A torbie-known-by -i tap1 -s fe80::/10 -p tcp -m conntrack --ctorigdst fe80::a9fe:a9fe -j SNAT --to-source 2001:db8::1",
  );
  expect(renderIptablesServices(WISH, 6)).toContain("-j REDIRECT --to-ports 8775");
});

it("a guest is known by its first fixed IPv6 address; one that passes nothing, or has none, by none", () => {
  const state = stateOf({
    endpoints: [
      endpoint("a", { owned: ["10.0.0.1/32", "2001:db8::1/128", "2001:db8::2/128"], set: "s" }),
      endpoint("b", { owned: ["10.0.0.2/32"], set: "s" }),
      endpoint("c", { owned: ["2001:db8::3/128"], set: "s", adminUp: false }),
    ],
  });
  expect([...knownByTap(state)]).toEqual([["tapa", "2001:db8::1"]]);
});

it("a service on another host is said to be out of reach", () => {
  const codes = (from: ServicesWish): string[] =>
    metadataProblems(from, new Set(["10.0.0.7"])).map(({ where }) => where);
  expect(codes(wish("10.0.0.7", "::"))).toEqual([]);
  expect(codes(wish("127.3.2.1"))).toEqual([]);
  expect(codes(wish("10.0.0.8", "2001:db8::8"))).toEqual(["metadata-address", "metadata-address-ipv6"]);
});

describe("the setting", () => {
  it.each<[4 | 6, string]>([
    [4, "127.0.0.1"],
    [4, "none"],
    [6, "::"],
    [6, "2001:db8::53"],
  ])("IPv%i: %s", (family, text) => expect(serviceAddress(family).parse(text)).toBe(text));
  it.each<[4 | 6, string]>([
    [4, "::1"],
    [4, "0.0.0.0"],
    [4, "169.254.169.254"],
    [4, "224.0.0.1"],
    [4, "metadata.example.org"],
    [6, "::1"],
    [6, "fe80::1"],
    [6, "127.0.0.1"],
    [6, "ff02::1"],
  ])("IPv%i: %s is refused", (family, text) => expect(() => serviceAddress(family).parse(text)).toThrow(/expected/));
});

describe("floating IPs", () => {
  const floats = (...pairs: [string, string][]): ServicesWish["floating"] => new Map(pairs as [Address, Address][]);
  const two: ServicesWish = {
    ...wish("127.0.0.1"),
    floating: floats(["172.24.4.7", "10.0.0.1"], ["172.24.4.6", "10.0.0.1"], ["2001:db8:f::7", "2001:db8::1"]),
  };

  it("are a lookup in a map, from wherever; who asks for its own is seen by its lowest", () => {
    const text = renderServices(two, 4);
    expect(text).toContain("dnat to ip daddr map @floating");
    expect(text).toContain("elements = { 172.24.4.7 : 10.0.0.1, 172.24.4.6 : 10.0.0.1 }");
    expect(text).toContain("elements = { 10.0.0.1 . 10.0.0.1 : 172.24.4.6 }");
    expect(text).toContain("type nat hook output priority -105");
    expect(renderServices(two, 6)).toContain("elements = { 2001:db8:f::7 : 2001:db8::1 }");
  });

  it("are known again, and not when one leads elsewhere", () => {
    const listed = (from: ServicesWish): string => {
      const { nftables } = JSON.parse(listing(4, from)) as { nftables: unknown[] };
      const back = [...hairpins(from.floating)].filter(([internal]) => !internal.includes(":"));
      return JSON.stringify({
        nftables: [
          ...nftables,
          { map: { name: "floating", elem: [...from.floating].filter(([external]) => !external.includes(":")) } },
          { map: { name: "hairpin", elem: back.map(([one, to]) => [{ concat: [one, one] }, to]) } },
        ],
      });
    };
    expect(serviceStands(listed(two), two, 4)).toBe(true);
    expect([...floatsOf(listed(two)).keys()]).toEqual(["172.24.4.7", "172.24.4.6"]);
    const moved = { ...two, floating: floats(["172.24.4.7", "10.0.0.2"], ["172.24.4.6", "10.0.0.1"]) };
    expect(serviceStands(listed(moved), two, 4)).toBe(false);
    expect(changedFloats(moved.floating, two.floating)).toEqual(["172.24.4.7", "2001:db8:f::7"]);
    expect(changedFloats(two.floating, floats())).toHaveLength(3);
  });

  it("are rules where nft is missing", () => {
    const text = renderIptablesServices(two, 4);
    expect(text).toContain("-A torbie-floating -d 172.24.4.7 -j DNAT --to-destination 10.0.0.1\n");
    expect(text).toContain(
      "-A torbie-hairpin -s 10.0.0.1 -d 10.0.0.1 -m conntrack --ctstate DNAT -j SNAT --to-source 172.24.4.6",
    );
    expect(text).not.toContain("2001:db8");
  });

  it("never are the host's own addresses, nor those of a port that is down", () => {
    const nat = (external: string) => [{ external: external as Address, internal: "10.0.0.1" as Address }];
    const state = stateOf({
      endpoints: [
        { ...endpoint("a", { owned: ["10.0.0.1/32"], set: "s" }), floating: nat("172.24.4.7") },
        { ...endpoint("b", { owned: ["10.0.0.1/32"], set: "s" }), floating: nat("192.0.2.10") },
        { ...endpoint("c", { owned: ["10.0.0.1/32"], set: "s", adminUp: false }), floating: nat("172.24.4.8") },
      ],
    });
    const hosts = new Set(["192.0.2.10"]);
    expect([...floatsIn(state, hosts)]).toEqual([["172.24.4.7", "10.0.0.1"]]);
    expect(floatingProblems(state, hosts).map(({ where }) => where)).toEqual(["b 192.0.2.10"]);
  });
});

it("only connections to a floating IP that leads elsewhere now are forgotten", () => {
  const leads = new Map([["172.24.4.7", "10.0.0.2"]]) as unknown as ReadonlyMap<Address, Address>;
  const changed = new Set<string>(["172.24.4.7", "172.24.4.8"]) as unknown as ReadonlySet<Address>;
  const to = (asked: string, meant: string): boolean =>
    isRedirected(
      { original: { destination: asked }, reply: { source: meant } } as Parameters<typeof isRedirected>[0],
      changed,
      leads,
    );
  expect(to("172.24.4.7", "10.0.0.1")).toBe(true);
  expect(to("172.24.4.7", "172.24.4.7")).toBe(true);
  expect(to("172.24.4.7", "10.0.0.2")).toBe(false);
  expect(to("172.24.4.8", "10.0.0.1")).toBe(true);
  expect(to("172.24.4.8", "172.24.4.8")).toBe(false);
  expect(to("172.24.4.9", "10.0.0.1")).toBe(false);
});
