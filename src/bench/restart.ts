/** Packets that go missing while the agent is killed, ended and started again. */
import { execFileSync, type ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { allow, FROM, group, OPEN_PORT, ready, TO } from "./cloud.js";
import { Injector } from "./inject.js";
import { Lab } from "./lab.js";
import { guestMac, port, tapNames } from "./ports.js";
import { handed, linkOf } from "./links.js";
import { mapsMegabytes, spent } from "./spent.js";

export interface RestartScenario {
  readonly taps: number;
  /** Program of a build whose records lie elsewhere, to which it is upgraded at last. */
  readonly other?: string;
}

/** From the start of the agent's process until every tap is enforced. */
export interface Stage {
  readonly seconds: number;
  /** User and system time of its process alone. */
  readonly cpuSeconds: number;
  readonly residentMegabytes: number;
  /** Packets, since the agent before it was ended. */
  readonly lost: number;
}

export interface Restarts {
  readonly start: Stage;
  /** After SIGKILL, and after SIGTERM, as a package's upgrade does it. */
  readonly restart: Stage;
  readonly upgrade: Stage;
  /** SIGTERM, and then a build of another layout, which takes the maps' contents over. */
  readonly otherLayout?: Stage;
  /** Packets in all. */
  readonly sent: number;
  readonly mapsMegabytes: number;
}

/** Packets in one go, every few milliseconds. */
const BURST = 10;

/** Runs in the network namespace of its process. Half of the packets are of one flow, the others each of a new one. */
export async function measureRestart({ taps, other }: RestartScenario): Promise<Restarts> {
  const lab = await Lab.create();
  try {
    const names = tapNames(taps);
    await lab.taps(names);
    // What the host itself says there (neighbour discovery, multicast reports) would be counted as well.
    execFileSync("sysctl", ["-qw", ...names.slice(0, 2).map((name) => `net.ipv6.conf.${name}.disable_ipv6=1`)]);
    await lab.put(ready(), group("shared", [allow(17, OPEN_PORT)]));
    await lab.put(...names.flatMap((_, i) => port(i)));
    const injector = await Injector.load("build/bench.bpf.o");
    const from = linkOf(names[0] ?? "");
    const to = names[1] ?? "";
    const over = { now: false };
    let [sent, before] = [0, handed(to)];
    /** So far; packets are handed over before the injecting ends. */
    const lost = (): number => sent - (handed(to) - before);
    const traffic = async (): Promise<void> => {
      for (let fresh = false; !over.now; fresh = !fresh) {
        const first = { firstSource: FROM, destination: TO, firstPort: OPEN_PORT };
        const flows = fresh ? { flows: 50_000, firstSourcePort: 2_000 } : { flows: 1 };
        injector.run(from, guestMac(0), { ...first, ...flows, sent }, BURST);
        sent += BURST;
        await sleep(2);
      }
    };
    const start = async (lostBefore: number, program?: string): Promise<readonly [ChildProcess, Stage]> => {
      const started = performance.now();
      const agent = lab.agent("bpf", program);
      await lab.until(`${taps} taps enforced`, () => lab.status().inSync && lab.status().enforced === taps);
      const seconds = (performance.now() - started) / 1000;
      const { cpuSeconds, residentMegabytes } = spent(agent.pid ?? 0);
      if (sent > 0) await sleep(200);
      return [agent, { seconds, cpuSeconds, residentMegabytes, lost: lost() - lostBefore }];
    };
    let [agent, stage] = await start(0);
    const stages = [stage];
    const maps = mapsMegabytes(lab.pinDir);
    before = handed(to); // nothing passed before
    const going = traffic();
    try {
      await sleep(200);
      for (const [signal, program] of [
        ["SIGKILL"],
        ["SIGTERM"],
        ...(other === undefined ? [] : [["SIGTERM", other]]),
      ]) {
        const lostBefore = lost();
        await lab.end(agent, signal as NodeJS.Signals);
        [agent, stage] = await start(lostBefore, program);
        stages.push(stage);
      }
    } finally {
      over.now = true;
      await going;
    }
    if (lost() < 0) throw new Error(`${-lost()} packets more came than were sent: somebody else sends too`);
    const [first, restart, upgrade, otherLayout] = stages;
    if (first === undefined || restart === undefined || upgrade === undefined) throw new Error("a stage is missing");
    const more = otherLayout === undefined ? {} : { otherLayout };
    return { start: first, restart, upgrade, ...more, sent, mapsMegabytes: maps };
  } finally {
    await lab.close();
  }
}
