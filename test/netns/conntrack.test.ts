/** ctnetlink against the kernel: what we create is what others read, and what we delete is that and nothing else. */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ConntrackStatus,
  TcpFlag,
  TcpState,
  type ConntrackEntry,
  type ConntrackTuple,
} from "../../src/dataplane/conntrack/entry.js";
import type { Address, Family } from "../../src/model/types.js";
import { bundle, type Bundle } from "../support/bundle.js";
import { namespace, type Namespace } from "./helper.js";
import { LineChild } from "./lines.js";

let ns: Namespace;
let script: Bundle;
let child: LineChild;

beforeAll(async () => {
  ns = await namespace();
  script = await bundle("test/netns/conntrack-script.ts");
  child = new LineChild(ns.start(process.execPath, script.file));
  expect(JSON.parse(await child.next())).toBe("ready");
});
afterAll(async () => {
  await ns.remove();
  script.remove();
});

const ask = async <T>(command: object): Promise<T> => JSON.parse(await child.ask(JSON.stringify(command))) as T;

const tuple = (source: string, destination: string, sourcePort = 0, destinationPort = 0): ConntrackTuple => ({
  source: source as Address,
  destination: destination as Address,
  sourcePort,
  destinationPort,
});
const back = ({ source, destination, sourcePort, destinationPort }: ConntrackTuple): ConntrackTuple =>
  tuple(destination, source, destinationPort, sourcePort);

function entry(family: Family, protocol: number, original: ConntrackTuple, more: Partial<ConntrackEntry> = {}) {
  const made: ConntrackEntry = {
    family,
    protocol,
    original,
    reply: back(original),
    status: ConntrackStatus.SEEN_REPLY | ConntrackStatus.ASSURED,
    timeout: 3000,
    mark: 0,
    zone: 0,
    id: 0,
    ...more,
  };
  return made;
}

const LIBERAL = TcpFlag.BE_LIBERAL | TcpFlag.WINDOW_SCALE;
const TCP4 = entry(4, 6, tuple("10.1.0.1", "10.1.0.2", 40_000, 22), {
  mark: 7,
  tcp: { state: TcpState.ESTABLISHED, flags: [LIBERAL, LIBERAL], windowScale: [7, 9] },
});
const TCP6 = entry(6, 6, tuple("2001:db8::1", "2001:db8::2", 40_000, 22), {
  zone: 5,
  tcp: { state: TcpState.CLOSE_WAIT, flags: [LIBERAL, LIBERAL], windowScale: [14, 14] },
});
const UDP = entry(4, 17, tuple("10.1.0.1", "10.1.0.2", 5_000, 53));
const ICMP = entry(
  4,
  1,
  { ...tuple("10.1.0.1", "10.1.0.2"), icmp: { type: 8, code: 0, id: 77 } },
  { reply: { ...tuple("10.1.0.2", "10.1.0.1"), icmp: { type: 0, code: 0, id: 77 } }, status: 0 },
);
const ICMPV6 = entry(
  6,
  58,
  { ...tuple("2001:db8::1", "2001:db8::2"), icmp: { type: 128, code: 0, id: 78 } },
  { reply: { ...tuple("2001:db8::2", "2001:db8::1"), icmp: { type: 129, code: 0, id: 78 } } },
);
const SCTP = entry(4, 132, tuple("10.1.0.1", "10.1.0.2", 6_000, 6_001), {
  sctp: { state: 4, tag: [0x0102_0304, 0xa0b0_c0d0] },
});
const OTHER = entry(6, 47, tuple("2001:db8::1", "2001:db8::2"));
const ALL = [TCP4, TCP6, UDP, ICMP, ICMPV6, SCTP, OTHER];

const plain = (one: ConntrackEntry) => ({
  ...one,
  id: 0,
  timeout: 0,
  status: one.status & ~ConntrackStatus.CONFIRMED & ~0x180,
});
const sorted = (entries: readonly ConntrackEntry[]): string[] =>
  entries.map((one) => JSON.stringify(plain(one), Object.keys(flatKeys(one)).sort())).sort();
/** Every key at any depth, for a stable JSON text. */
function flatKeys(value: unknown): Record<string, true> {
  if (typeof value !== "object" || value === null) return {};
  return Object.entries(value).reduce(
    (keys, [key, inner]) => ({ ...keys, [key]: true as const, ...flatKeys(inner) }),
    {},
  );
}

test("entries of every kind are created, seen by others and read back; one is deleted, and only that", async () => {
  expect(await ask({ do: "create", entries: ALL })).toEqual({ done: ALL.length, failed: [] });
  const read = await ask<ConntrackEntry[]>({ do: "list" });
  expect(sorted(read)).toEqual(sorted(ALL));
  for (const { timeout, id } of read) {
    expect(timeout).toBeGreaterThan(2900);
    expect(id).not.toBe(0);
  }
  // The witness: another program.
  const text = await ns.run("conntrack", "-L", "-f", "ipv4");
  expect(text).toMatch(
    /tcp +6 \d+ ESTABLISHED src=10\.1\.0\.1 dst=10\.1\.0\.2 sport=40000 dport=22 src=10\.1\.0\.2 dst=10\.1\.0\.1 sport=22 dport=40000 \[ASSURED\] mark=7/,
  );
  expect(text).toMatch(/icmp +1 \d+ src=10\.1\.0\.1 dst=10\.1\.0\.2 type=8 code=0 id=77 \[UNREPLIED\]/);
  expect(text).toMatch(/sctp +132 \d+ ESTABLISHED src=10\.1\.0\.1/);

  // Once more: they are there, and stay as they are.
  expect(await ask({ do: "create", entries: ALL })).toEqual({ done: 0, failed: [] });
  for (const victim of read) {
    const before = await ask<ConntrackEntry[]>({ do: "list" });
    // Somebody else has had its tuple since: that one stays.
    expect(await ask({ do: "delete", entries: [{ ...victim, id: victim.id ^ 1 }] })).toEqual({ done: 0, failed: [] });
    expect(await ask({ do: "delete", entries: [victim] })).toEqual({ done: 1, failed: [] });
    expect(await ask({ do: "delete", entries: [victim] })).toEqual({ done: 0, failed: [] });
    expect(sorted(await ask({ do: "list" }))).toEqual(sorted(before.filter(({ id }) => id !== victim.id)));
  }
  expect(await ask({ do: "list" })).toEqual([]);
});

test("what the kernel refuses is said, and does not hold up the rest", async () => {
  const bad = { ...UDP, status: ConntrackStatus.EXPECTED };
  const { done, failed } = await ask<{ done: number; failed: string[] }>({ do: "create", entries: [bad, TCP4] });
  expect(done).toBe(1);
  expect(failed).toEqual(["ctnetlink: adding a connection: EBUSY"]);
  const left = await ask<ConntrackEntry[]>({ do: "list" });
  expect(sorted(left)).toEqual(sorted([TCP4]));
  await ask({ do: "delete", entries: left });
});

test("a hundred thousand entries are read with the event loop alive and no memory of them kept", async () => {
  const like = entry(4, 17, tuple("10.2.0.1", "10.2.0.2"));
  expect(await ask({ do: "fill", entries: [like], count: 100_000 })).toEqual({ done: 100_000, failed: 0 });
  const before = await ask<{ rss: number }>({ do: "scan" });
  const { seen, longest, rss } = await ask<{ seen: number; longest: number; rss: number }>({ do: "scan" });
  expect(seen).toBe(100_000);
  expect(longest).toBeLessThan(200);
  expect(rss - before.rss).toBeLessThan(40 << 20);
}, 120_000);
