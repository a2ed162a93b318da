/** Packets that go missing while the agent is killed, ended and started again. */
import { execFileSync, type ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { allow, FROM, group, OPEN_PORT, ready, TO } from "./cloud.js";
import { Injector } from "./inject.js";
import { Lab } from "./lab.js";
import { guestMac, port, tapNames } from "./latency.js";
import { handed, linkOf } from "./links.js";

export interface Restarts {
  readonly sent: number;
  readonly lost: number;
}

/** Packets in one go, every few milliseconds. */
const BURST = 10;

/** Runs in the network namespace of its process. Half of the packets are of one flow, the others each of a new one. */
export async function measureRestart(): Promise<Restarts> {
  const lab = await Lab.create();
  try {
    const names = tapNames(2);
    // What the host itself says on its taps (neighbour discovery, multicast reports) would be counted as well.
    execFileSync("sysctl", ["-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]);
    await lab.taps(names);
    await lab.put(ready(), group("shared", [allow(17, OPEN_PORT)]), ...names.flatMap((_, i) => port(i)));
    const start = async (): Promise<ChildProcess> => {
      const agent = lab.agent();
      await lab.until("both taps enforced", () => lab.status().inSync && lab.status().enforced === 2);
      return agent;
    };
    let agent = await start();
    const injector = await Injector.load("build/bench.bpf.o");
    const from = linkOf(names[0] ?? "");
    const to = names[1] ?? "";
    const [before, over] = [handed(to), { now: false }];
    let sent = 0;
    const traffic = async (): Promise<void> => {
      for (let fresh = false; !over.now; fresh = !fresh) {
        const first = { firstSource: FROM, destination: TO, firstPort: OPEN_PORT };
        const flows = fresh ? { flows: 50_000, firstSourcePort: 2_000 } : { flows: 1 };
        injector.run(from, guestMac(0), { ...first, ...flows, sent }, BURST);
        sent += BURST;
        await sleep(2);
      }
    };
    const going = traffic();
    try {
      await sleep(200);
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        await lab.end(agent, signal);
        agent = await start();
        await sleep(200);
      }
    } finally {
      over.now = true;
      await going;
    }
    const came = handed(to) - before;
    if (came > sent) throw new Error(`${came} packets came of ${sent} that were sent: somebody else sends too`);
    return { sent, lost: sent - came };
  } finally {
    await lab.close();
  }
}
