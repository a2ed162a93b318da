/** A thousand changes at once: how long until packets are judged by the last of them. */
import { PATIENCE } from "../demo/world/patience.js";
import { allow, dotted, FIRST_MEMBER, group, HOSTNAME, ready, workload, type Entry } from "./cloud.js";
import { median } from "./figures.js";
import { Lab } from "./lab.js";
import { address, guestMac, tapNames } from "./ports.js";
import { programs, until } from "./probe.js";

export interface BurstScenario {
  readonly rounds: number;
}

/** Medians of the rounds. */
export interface Bursts {
  /** Seconds from the first write until the last is seen, and until etcd has acknowledged the last. */
  readonly rules: { readonly seen: number; readonly acknowledged: number };
  readonly members: { readonly seen: number; readonly acknowledged: number };
  /** Map entries that the agent wrote, of a round of each. */
  readonly writes: number;
}

export const AT_ONCE = 1_000;
const PORTS = 200;
const GROUPS_A_PORT = AT_ONCE / PORTS;
const FAR_PORT = 22;
const LIMIT = 60_000 * PATIENCE;
const rulePort = (of: number, round: number): number => 10_000 + of * 50 + round;

/** In every round another rule in each of the groups. */
const changed = (round: number): Entry[] =>
  Array.from({ length: AT_ONCE }, (_, i) => group(`g${i}`, [allow(6, rulePort(i, round))]));

function guest(i: number): Entry {
  const own = Array.from({ length: GROUPS_A_PORT }, (_, k) => `g${i * GROUPS_A_PORT + k}`);
  const place = { node: HOSTNAME, name: `port${i}`, tap: `tapl${i}`, mac: guestMac(i), address: address(i) };
  return workload({ ...place, groups: ["shared", ...own] });
}

/** Runs in the network namespace of its process. */
export async function measureBurst({ rounds }: BurstScenario): Promise<Bursts> {
  const lab = await Lab.create();
  try {
    const names = tapNames(PORTS);
    await lab.taps(names);
    await lab.put(
      ready(),
      group("shared", [allow(6, FAR_PORT, "far")]),
      ...changed(0),
      ...names.map((_, i) => guest(i)),
    );
    lab.agent();
    await lab.until(`${PORTS} ports enforced`, () => lab.status().inSync && lab.status().enforced === PORTS);
    const { passes, comesIn, close } = programs(lab);
    const all = Array.from({ length: AT_ONCE }, (_, i) => i);
    const measure = async (write: () => Promise<void>, seen: (i: number) => boolean): Promise<[number, number]> => {
      const started = performance.now();
      await write();
      const acknowledged = performance.now() - started;
      for (const i of all) await until(true, () => seen(i), LIMIT);
      return [(performance.now() - started) / 1000, acknowledged / 1000];
    };
    const before = await lab.settled();
    const [rules, members]: [[number, number][], [number, number][]] = [[], []];
    for (let round = 1; round <= rounds; round++) {
      const to = (i: number): number => Math.floor(i / GROUPS_A_PORT);
      const from = (i: number): number => (to(i) + 1) % PORTS;
      const hears = (i: number): boolean => passes(from(i), to(i), 1024 + round, rulePort(i, round), 2);
      rules.push(await measure(() => lab.put(...changed(round)), hears));
      await lab.settled();
      const first = round * AT_ONCE;
      const comes = (i: number): boolean => comesIn(dotted(FIRST_MEMBER + first + i), 0, FAR_PORT);
      members.push(await measure(() => lab.putMembers(first, AT_ONCE), comes));
      await lab.settled();
    }
    close();
    const middle = (found: readonly [number, number][]): { seen: number; acknowledged: number } => ({
      seen: median(found.map(([seen]) => seen)),
      acknowledged: median(found.map(([, acknowledged]) => acknowledged)),
    });
    return { rules: middle(rules), members: middle(members), writes: (lab.status().writes - before) / rounds };
  } finally {
    await lab.close();
  }
}
