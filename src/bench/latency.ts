/**
 * How long after etcd acknowledged a write the first packet sees it: packets by BPF_PROG_TEST_RUN on the pinned programs,
 * one after the other until the verdict changes.
 */
import { allow, group, ready } from "./cloud.js";
import { Lab } from "./lab.js";
import { port, tapNames } from "./ports.js";
import { packets, programs, PROTOCOL, until, type Probe } from "./probe.js";

export interface Scenario {
  readonly ports: number;
  readonly rules: number;
  readonly changes: number;
  /** Endpoints elsewhere, in a group that one of the rules names; default 0. */
  readonly members?: number;
  /** Default: bpf. */
  readonly dataplane?: "bpf" | "iptables";
}

export interface Latencies {
  /** Milliseconds from the acknowledgement of the write to the first packet that is judged by it. */
  readonly apply: readonly number[];
  readonly revoke: readonly number[];
  /** Map entries, chains and routes that the agent wrote for a change, on average. */
  readonly writes: number;
}

const FIRST_PORT = 20_000;

/** Runs in the network namespace of its process. */
export async function measureLatency(scenario: Scenario): Promise<Latencies> {
  const { ports, rules, members = 0, changes, dataplane = "bpf" } = scenario;
  const lab = await Lab.create();
  try {
    await lab.taps(tapNames(ports));
    const base = Array.from({ length: rules }, (_, i) =>
      allow(PROTOCOL[dataplane], FIRST_PORT + i, members > 0 && i === 0 ? "far" : undefined),
    );
    await lab.put(ready(), group("shared", base));
    await lab.put(...tapNames(ports).flatMap((_, i) => port(i)));
    await lab.putMembers(0, members);
    lab.agent(dataplane);
    await lab.until(`${ports} ports enforced`, () => lab.status().inSync && lab.status().enforced === ports);
    const probe = dataplane === "bpf" ? programs(lab) : await packets();
    const before = await lab.settled();
    const found = await run(lab, base, changes, PROTOCOL[dataplane], probe);
    return { ...found, writes: ((await lab.settled()) - before) / (2 * changes) };
  } finally {
    await lab.close();
  }
}

async function run(
  lab: Lab,
  base: readonly object[],
  changes: number,
  protocol: number,
  { passes, close }: Probe,
): Promise<Omit<Latencies, "writes">> {
  const apply: number[] = [];
  const revoke: number[] = [];
  for (let i = 0; i < changes; i++) {
    const port = 40_000 + i;
    const source = 1024 + i;
    await lab.put(group("shared", [...base, allow(protocol, port)]));
    apply.push(await until(true, () => passes(0, 1, source, port, 2)));
    passes(1, 0, port, source, 0x12); // answered: from now on it is an established flow
    await lab.put(group("shared", base));
    revoke.push(await until(false, () => passes(0, 1, source, port, 0x10)));
  }
  close();
  return { apply, revoke };
}
