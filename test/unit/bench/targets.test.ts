import { expect, it } from "vitest";
import { PROMISED } from "../../../src/bench/results.js";
import { againstTargets, verdictOf } from "../../../src/bench/targets.js";

const figure = (name: string, value: number | null, why?: string) => ({
  name,
  value,
  unit: "",
  vs: "",
  ...(why === undefined ? {} : { why }),
});

it("says of each target whether it is reached, by how much it is not, and why", () => {
  const judged = againstTargets([
    figure("established_net_vs_limit", 1.5),
    figure("first_packet_net_vs_insert_limit", 2),
    figure("taps_1000_start_s", null, "left out of a QUICK run"),
    figure("restart_lost_packets", 3),
    figure("what_nobody_promised", 9),
  ]);
  const of = (name: string) => {
    const one = judged.find((candidate) => candidate.name === name);
    if (one === undefined) throw new Error(`no target ${name}`);
    return { verdict: verdictOf(one), why: one.why };
  };
  expect(of("established_net_vs_limit")).toEqual({ verdict: "reached", why: "" });
  expect(of("first_packet_net_vs_insert_limit").verdict).toBe("missed by 25 %");
  expect(of("first_packet_net_vs_insert_limit").why).not.toBe("");
  expect(of("taps_1000_start_s")).toEqual({ verdict: "not measured", why: "left out of a QUICK run" });
  expect(of("restart_lost_packets").verdict).toBe("missed");
  expect(of("sync_100k_s")).toEqual({ verdict: "not measured", why: "not measured in this run" });
  expect(judged.map(({ name }) => name)).not.toContain("what_nobody_promised");
});

it("what is promised and has a bound is among them, once", () => {
  const names = againstTargets([]).map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  const unbounded = ["conn_rate_vs_iptables", "maps_mb"];
  expect(PROMISED.filter((name) => !names.includes(name))).toEqual(unbounded);
});
