/** D7 on the real programs: what a port that is flooded, or floods, leaves to itself and to its neighbours. */
import { afterAll, describe, expect, it } from "vitest";
import { incoming, out, sends, arrives, syn, tcp, forward, type Step } from "../conformance/case.js";
import { kernelImplementation, MANY_FLOWS } from "../conformance/kernel.js";
import { BASE, ip, OUTSIDE, type Family } from "../conformance/world.js";

const kernel = kernelImplementation("bpf", "build/tap.bpf.o", undefined, MANY_FLOWS);
afterAll(() => kernel.close());

const FLOWS = MANY_FLOWS;
/** Of them every one of so few ports is guaranteed more than this (flowShares). */
const GUARANTEED = 64;

async function play(step: Step, now = 0): Promise<string> {
  if (!("frame" in step)) throw new Error("no frame");
  const outcome = await kernel.receive(step.at, step.frame, now);
  return outcome.verdict === "drop" ? outcome.reason : outcome.verdict;
}

const inbound = (guest: "web1" | "web2", family: Family, port: number): Step =>
  arrives(incoming(family, OUTSIDE[family], ip(guest, family)).tcp(syn(port, 80)), forward);
const outbound = (guest: "web1" | "web2", family: Family, port: number): Step =>
  sends(guest, out(guest, family, OUTSIDE[family]).tcp(syn(port, 443)), forward);

/** How many of these pass before one does not, and why that one did not. */
async function untilRefused(
  make: (port: number) => Step,
  most = FLOWS,
  now = 0,
): Promise<{ passed: number; reason: string }> {
  for (let i = 0; i < most; i++) {
    const verdict = await play(make(1024 + i), now);
    if (verdict !== "deliver" && verdict !== "forward") return { passed: i, reason: verdict };
  }
  return { passed: most, reason: "none" };
}

async function allPass(make: (port: number) => Step, count: number): Promise<void> {
  expect(await untilRefused((port) => make(port + 20_000), count)).toEqual({ passed: count, reason: "none" });
}

describe.each([4, 6] as const)("over IPv%i", (family) => {
  it("a flood of SYNs towards a port ends at its share, and leaves it room for what it begins itself", async () => {
    await kernel.load(BASE);
    const flood = await untilRefused((port) => inbound("web1", family, port));
    expect(flood.reason).toBe("FLOW_TABLE_FULL");
    expect(flood.passed).toBeGreaterThan(GUARANTEED / 2);
    expect(flood.passed).toBeLessThan(FLOWS / 2);
    await allPass((port) => outbound("web1", family, port), GUARANTEED);
    // A flow that it has goes on: only new ones are refused.
    expect(await play(sends("web1", out("web1", family, OUTSIDE[family]).tcp(tcp(80, 1024, "SA")), forward))).toBe(
      "forward",
    );
    await allPass((port) => inbound("web2", family, port), GUARANTEED / 2);
  });

  it("a port that opens all it can leaves its neighbours their share, both ways", async () => {
    await kernel.load(BASE);
    const greedy = await untilRefused((port) => outbound("web1", family, port));
    expect(greedy.reason).toBe("FLOW_TABLE_FULL");
    expect(greedy.passed).toBeLessThanOrEqual(FLOWS / 2);
    await allPass((port) => outbound("web2", family, port), GUARANTEED);
    await allPass((port) => inbound("web2", family, port), GUARANTEED / 2);
  });

  it("what has expired makes room, with no agent to sweep", async () => {
    await kernel.load(BASE);
    const first = await untilRefused((port) => inbound("web1", family, port));
    expect(first.reason).toBe("FLOW_TABLE_FULL");
    const later = await untilRefused((port) => inbound("web1", family, port + 20_000), FLOWS, 3_600);
    expect(later.passed).toBeGreaterThan(first.passed / 2);
  });
});
