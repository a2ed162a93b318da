/**
 * One side of a comparison, in a network namespace of its own: sets up what it is told and measures on demand. One JSON
 * value a line: {"measure": name, "packets": n} in, {"nanoseconds": x} or {"error": text} out.
 */
import { createInterface } from "node:readline";
import type { Measurement } from "./links.js";
import { peerOf, type Role } from "./plan.js";
import { bpf } from "./worker-bpf.js";
import { forwarding, peer, twoRules } from "./worker-peers.js";
import { reason } from "./reason.js";

async function setUp(role: Role, quick: boolean): Promise<Record<string, Measurement>> {
  if (role === "bpf") return bpf(quick);
  if (role === "forwarding") return forwarding();
  if (role === "two_rules") return twoRules(quick);
  const found = peerOf(role);
  if (found === undefined) throw new Error(`no role ${role}`);
  return peer(found.peer, found.size);
}

const say = (what: object): unknown => process.stdout.write(`${JSON.stringify(what)}\n`);

export async function work(role: Role, quick: boolean): Promise<void> {
  let measurements: Record<string, Measurement>;
  try {
    measurements = await setUp(role, quick);
  } catch (error) {
    say({ error: reason(error) });
    process.exit(0);
  }
  say({ ready: Object.keys(measurements) });
  for await (const line of createInterface({ input: process.stdin })) {
    const { measure, packets } = JSON.parse(line) as { measure: string; packets: number };
    try {
      const run = measurements[measure];
      if (run === undefined) throw new Error(`no measurement ${measure}`);
      say({ nanoseconds: run(packets) });
    } catch (error) {
      say({ error: reason(error) });
    }
  }
  process.exit(0);
}
