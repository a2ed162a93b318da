import { isIPv4, isIPv6 } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addressBytes,
  addressFromBytes,
  addressToPrefix,
  comparePrefixes,
  contains,
  family,
  isSingle,
  macBytes,
  overlaps,
  parseAddress,
  parseMac,
  parsePrefix,
  prefixBytes,
  prefixFromBytes,
  prefixLength,
  prefixOf,
  prefixToAddress,
} from "../../../src/model/cidr.js";
import type { Address, Prefix } from "../../../src/model/types.js";

const v4 = fc.ipV4();
const v6 = fc.ipV6().filter((text) => !/^(0*:)*:?:?ffff:[^:]+(:[^:]+)?$/i.test(text));
const address = fc
  .oneof(v4, v6)
  .map(parseAddress)
  .filter((a): a is Address => a !== undefined);
const prefix = fc.tuple(address, fc.nat(128)).map(([a, n]) => prefixOf(a, family(a) === 4 ? n % 33 : n));

describe("addresses", () => {
  test.each([
    ["10.65.0.2", "10.65.0.2"],
    ["0.0.0.0", "0.0.0.0"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["fe80:0000::0001", "fe80::1"],
    ["1::", "1::"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
  ])("%s is %s (RFC 5952)", (text, canonical) => {
    expect(parseAddress(text)).toBe(canonical);
  });

  test.each([
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.4 ",
    " 1.2.3.4",
    "01.2.3.4",
    "1.2.3.256",
    "1..2.3",
    "1.2.3.",
    ".1.2.3",
    "0x1.2.3.4",
    "1.2.3.4\n",
    "1.2.3.4\0",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    ":::",
    ":1::",
    "1:2:3:4:5:6:7::8",
    "12345::",
    "g::",
    "::1.2.3",
    "1.2.3.4::",
    "::ffff:10.0.0.1",
    "::ffff:a00:1",
    "1:2:3:4:5:6:7:1.2.3.4",
    ":",
    "1:",
    "::1:",
    "٣.1.1.1",
    "$(id)",
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("agrees with node:net on what an address is, mapped IPv6 and zones aside", () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6, fc.stringMatching(/^[0-9a-f:.%/]{0,20}$/)), (text) => {
        const valid =
          isIPv4(text) ||
          (isIPv6(text) && !text.includes("%") && !new URL(`http://[${text}]`).hostname.startsWith("[::ffff:"));
        expect(parseAddress(text) !== undefined).toBe(valid);
      }),
      { numRuns: 2000 },
    );
  });

  test("IPv6 text is what the URL standard makes of it (also RFC 5952)", () => {
    fc.assert(
      fc.property(v6, (text) => {
        expect(parseAddress(text)).toBe(new URL(`http://[${text}]`).hostname.slice(1, -1));
      }),
    );
  });

  test("bytes and text are two forms of one thing", () => {
    fc.assert(
      fc.property(address, (a) => {
        expect(parseAddress(a)).toBe(a);
        expect(addressBytes(a)).toHaveLength(16);
        expect(addressFromBytes(addressBytes(a))).toBe(a);
      }),
    );
    expect([...addressBytes("10.65.0.2" as Address)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 65, 0, 2]);
    expect(() => addressFromBytes(new Uint8Array(4))).toThrow(RangeError);
  });
});

describe("prefixes", () => {
  test.each([
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["198.51.100.7/24", "198.51.100.0/24"],
    ["255.255.255.255/0", "0.0.0.0/0"],
    ["10.1.2.3", "10.1.2.3/32"],
    ["200.1.2.3/31", "200.1.2.2/31"],
    ["fd00:65::/64", "fd00:65::/64"],
    ["2001:db8:ffff::1/33", "2001:db8:8000::/33"],
    ["::1", "::1/128"],
    ["ff::/0", "::/0"],
  ])("%s is %s", (text, canonical) => {
    expect(parsePrefix(text)).toBe(canonical);
  });

  test.each([
    "10.0.0.0/24/32",
    "fd00:77::/64/128",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/08",
    "10.0.0.0/",
    "/8",
    "10.0.0.0/-1",
    "10.0.0.0/8 ",
    "10.0/16",
    "10.0.0.0/255.0.0.0",
    "::ffff:10.0.0.0/104",
    "10.0.0.0/1e1",
    "x/8",
    "",
  ])("%j is none", (text) => {
    expect(parsePrefix(text)).toBeUndefined();
  });

  test("round trips, and holds its own first address", () => {
    fc.assert(
      fc.property(prefix, (p) => {
        expect(parsePrefix(p)).toBe(p);
        expect(prefixFromBytes(prefixBytes(p), prefixLength(p))).toBe(p);
        expect(contains(p, prefixToAddress(p))).toBe(true);
        expect(isSingle(p)).toBe(p === addressToPrefix(prefixToAddress(p)));
      }),
    );
  });

  test("contains means: cut to its length, the other is the same", () => {
    fc.assert(
      fc.property(prefix, prefix, address, (a, b, host) => {
        const same = (outer: Prefix, inner: Address): boolean =>
          family(outer) === family(inner) && prefixOf(inner, prefixLength(outer)) === outer;
        expect(contains(a, host)).toBe(same(a, host));
        expect(contains(a, b)).toBe(same(a, prefixToAddress(b)) && prefixLength(a) <= prefixLength(b));
        expect(overlaps(a, b)).toBe(contains(a, b) || contains(b, a));
        expect(contains(prefixOf(host, 7), host)).toBe(true);
      }),
    );
    expect(contains("::/0" as Prefix, "10.0.0.1" as Address)).toBe(false);
  });

  test("the order is total", () => {
    fc.assert(
      fc.property(prefix, prefix, (a, b) => {
        expect(Math.sign(comparePrefixes(a, b))).toBe(-Math.sign(comparePrefixes(b, a)) + 0);
        expect(comparePrefixes(a, b) === 0).toBe(a === b);
      }),
    );
  });

  test("a length that the family does not have is refused", () => {
    expect(() => prefixOf("10.0.0.1" as Address, 33)).toThrow(RangeError);
    expect(() => prefixOf("::1" as Address, 0.5)).toThrow(RangeError);
  });
});

test("MACs", () => {
  expect(parseMac("FA:16:3e:AA:bb:CC")).toBe("fa:16:3e:aa:bb:cc");
  expect([...macBytes("fa:16:3e:aa:bb:0c" as never)]).toEqual([0xfa, 0x16, 0x3e, 0xaa, 0xbb, 0x0c]);
  for (const text of [
    "",
    "fa:16:3e:aa:bb",
    "fa-16-3e-aa-bb-cc",
    "fa:16:3e:aa:bb:cc:dd",
    "fa163eaabbcc",
    "ga:16:3e:aa:bb:cc",
    "fa:16:3e:aa:bb:cc\n",
  ]) {
    expect(parseMac(text)).toBeUndefined();
  }
});
