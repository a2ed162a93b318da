import { expect, it } from "vitest";
import { withoutLiveFrames } from "../../../src/bench/machine.js";
import { missing, PROMISED, Results } from "../../../src/bench/results.js";

const figure = (name: string, value: number | null, why?: string) => ({
  name,
  value,
  unit: "ratio",
  vs: "limit",
  ...(why === undefined ? {} : { why }),
});

it("prints every promised name once, even when a part failed, and says that it failed", async () => {
  const lines: string[] = [];
  const results = new Results((line) => lines.push(line));
  await results.phase("packets", () => Promise.resolve([figure("established_net_vs_limit", 1.2)]));
  await results.phase("restart", () => Promise.reject(new Error("no\n  etcd")));
  const faults = results.close().map(({ name }) => name);
  expect(missing(lines)).toEqual([]);
  const names = lines.map((line) => (JSON.parse(line) as { name: string }).name);
  expect([...names].sort()).toEqual([...PROMISED].sort());
  expect(faults).toEqual(PROMISED.filter((name) => name !== "established_net_vs_limit"));
  expect(lines.at(-1)).toContain("restart: no etcd");
});

it("a wide spread, a kernel that can't and a part left out are no faults", () => {
  const results = new Results(() => undefined);
  results.add([figure("established_net_vs_limit", null, "rounds differ too much: 1 2")]);
  results.leaveOut("packets", withoutLiveFrames("5.10.0-28-amd64") ?? "", PROMISED.slice(1, 5));
  results.leaveOut("scale", "left out: 420 s had passed", []);
  expect(results.close()).toEqual([]);
});

it("finds what is missing among other lines, and takes no null without a reason for a figure", () => {
  const all = PROMISED.map((name) => JSON.stringify(figure(name, 1)));
  expect(missing(["a table", "{not json", "{}", ...all])).toEqual([]);
  expect(missing(all.slice(1))).toEqual([PROMISED[0]]);
  expect(missing([JSON.stringify(figure(PROMISED[0], null)), ...all.slice(1)])).toEqual([PROMISED[0]]);
  expect(missing([JSON.stringify({ name: PROMISED[0] }), ...all.slice(1)])).toEqual([PROMISED[0]]);
});

it("knows which kernels inject", () => {
  expect(withoutLiveFrames("5.17.9")).toMatch(/^kernel 5\.17\.9 /);
  expect(["5.18.0", "6.1.0-13-amd64", "10.0.1"].map(withoutLiveFrames)).toEqual([undefined, undefined, undefined]);
});
