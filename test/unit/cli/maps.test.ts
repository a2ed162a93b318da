/** The commands that read the maps: what they print of made-up ones, what they refuse, and the pure parts by themselves. */
import { describe, expect, test } from "vitest";
import { EXIT } from "../../../src/cli/command.js";
import { changesOf } from "../../../src/cli/flow-watch.js";
import { routeRows } from "../../../src/cli/route.js";
import { decodeFlow, type PinnedFlow } from "../../../src/dataplane/bpf/read-flows.js";
import type { Bytes } from "../../../src/abi/records.js";
import { FlowState } from "../../../src/abi/layout.gen.js";
import { parse, record } from "../../../src/abi/records.js";
import type { Prefix } from "../../../src/model/types.js";
import { cli, FLOW } from "./fake.js";

const names = { name: () => undefined, port: () => undefined, interface: () => undefined };
const clock = { now: 5000, hz: 250, timeouts: Array.from({ length: 16 }, () => 15_000) };
const flow = (more: Parameters<typeof record<"flow">>[1] = {}): PinnedFlow => {
  const found = decodeFlow(FLOW[0], record("flow", { ...parse("flow", FLOW[1]), ...more }), names, clock);
  if (found === undefined) throw new Error("a dead entry");
  return found;
};

describe("map", () => {
  test("dump names numbers, --raw does not", async () => {
    expect((await cli(["map", "dump", "tap"])).out).toBe(
      "INTERFACE             ENDPOINT\ntap1a2b3c4d-01 (101)  tap1a2b3c4d-01 (1)\n",
    );
    expect((await cli(["map", "dump", "tap", "--raw"])).out).toBe("65000000 01000000\n");
  });
  test("what is wrong is said, with a status of its own", async () => {
    expect(await cli(["map", "dump", "polcy"])).toMatchObject({
      exit: EXIT.absent,
      err: expect.stringContaining("did you mean policy?") as string,
    });
    expect((await cli(["map", "dump", "event"])).exit).toBe(EXIT.refused);
    expect((await cli(["map", "dump", "tap", "--limit", "0"])).exit).toBe(EXIT.usage);
    expect((await cli(["map", "list"], { pinned: false })).exit).toBe(EXIT.absent);
  });
});

describe("flow", () => {
  test("list tells ends, state, times and counters", async () => {
    const { out } = await cli(["flow", "list", "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      protocol: "tcp",
      from: { address: "10.65.0.1", port: 4242, name: "tap1a2b3c4d-01", packets: 7 },
      to: { address: "10.65.0.2", port: 80, name: "tap1a2b3c4d-02", bytes: "9007199254740993" },
      state: "established",
      idle: 10,
      left: 50,
    });
  });
  test.each([
    [["--address", "10.65.0.0/31"], true],
    [["--address", "10.66.0.0/16"], false],
    [["--protocol", "udp"], false],
    [["--state", "established"], true],
    [["--state", "syn-sent"], false],
    [["--port", "tap1a2b3c4d-02"], true],
  ])("list %j", async (filter, there) => {
    expect((await cli(["flow", "list", "--json", ...filter])).out !== "").toBe(there);
  });
  test.each([
    [["--address", "web"], EXIT.usage],
    [["--protocol", "tpc"], EXIT.usage],
    [["--state", "establishd"], EXIT.usage],
    [["--port", "nobody"], EXIT.absent],
  ])("list refuses %j", async (filter, exit) => {
    expect((await cli(["flow", "list", ...filter])).exit).toBe(exit);
  });
  test("flush wants a filter or --all, not both", async () => {
    expect((await cli(["flow", "flush"])).exit).toBe(EXIT.refused);
    expect((await cli(["flow", "flush", "--all", "--protocol", "tcp"])).exit).toBe(EXIT.usage);
    expect((await cli(["flow", "flush", "--protocol", "tcp"])).out).toBe("1 flow forgotten\n");
    expect((await cli(["flow", "flush", "--protocol", "udp"])).out).toBe("0 flows forgotten\n");
  });
  test("an entry that has outlived its timeout is called expired, a dead one is no flow", () => {
    expect(flow({ last_seen: (5000 - 15_000) >>> 0 }).state).toBe("expired");
    expect(decodeFlow(FLOW[0], record("flow", { state: FlowState.FLOW_DEAD }), names, clock)).toBeUndefined();
  });
  test("watch: new, ended, opened anew, gone", () => {
    const known = new Map<Bytes, PinnedFlow>();
    const look = (...now: PinnedFlow[]) => changesOf(known, now).map(({ what }) => what);
    expect(look(flow())).toEqual(["new"]);
    expect(look(flow())).toEqual([]);
    expect(look(flow({ packets: [1n, 0n] }))).toEqual(["ended", "new"]);
    expect(look(flow({ packets: [2n, 1n], state: FlowState.FLOW_CLOSED }))).toEqual(["ended"]);
    expect(look()).toEqual([]);
    expect(look(flow())).toEqual(["new"]);
    expect(look()).toEqual(["ended"]);
  });
});

test("route list says who knows a prefix", () => {
  const route = { family: 4, table: 254, protocol: 116, metric: 1024, tos: 0, links: [7], gateways: [] } as const;
  const rows = routeRows(
    [
      { ...route, prefix: "10.65.0.1/32" as Prefix },
      { ...route, prefix: "10.65.0.9/32" as Prefix },
    ],
    [
      { prefix: "10.65.0.1/32", port: "a", shared: false },
      { prefix: "10.65.0.2/32", port: "b", shared: false },
    ],
    (ifindex) => `tap${ifindex}`,
  );
  expect(rows.map(({ prefix, known }) => [prefix, known])).toEqual([
    ["10.65.0.1/32", "both"],
    ["10.65.0.2/32", "programs only"],
    ["10.65.0.9/32", "kernel only"],
  ]);
});
