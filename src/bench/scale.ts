/** Start-up with many taps and with a big cloud: seconds, resident memory, memory of the maps. */
import { allow, group, ready, reporting } from "./cloud.js";
import { Lab } from "./lab.js";
import { port, tapNames } from "./ports.js";
import { mapsMegabytes, spent } from "./spent.js";

export interface Size {
  readonly taps: number;
  readonly members: number;
  /** The taps appear, all at once, when the agent already follows the datastore. */
  readonly late?: boolean;
}

export interface Scale {
  /** From the start of the agent's process, or of the making of late taps, until every tap is enforced. */
  readonly seconds: number;
  /** From then until etcd holds the status of every one, "up". */
  readonly statusSeconds: number;
  readonly residentMegabytes: number;
  readonly mapsMegabytes: number;
}

/** Runs in the network namespace of its process. */
export async function measureScale({ taps, members, late = false }: Size): Promise<Scale> {
  const lab = await Lab.create();
  try {
    if (!late) await lab.taps(tapNames(taps));
    await lab.put(ready(), reporting(), group("shared", [allow(6, 80), allow(6, 22, "far")]));
    await lab.put(...tapNames(taps).flatMap((_, i) => port(i)));
    await lab.putMembers(0, members);
    let started = performance.now();
    const agent = lab.agent();
    if (late) {
      await lab.until("the agent is in sync", () => lab.status().inSync);
      started = performance.now();
      await lab.taps(tapNames(taps));
    }
    await lab.until(`${taps} taps enforced`, () => lab.status().inSync && lab.status().enforced === taps);
    const seconds = (performance.now() - started) / 1000;
    await lab.until(`the status of ${taps} taps`, async () => (await lab.reportedUp()) === taps);
    const statusSeconds = (performance.now() - started) / 1000 - seconds;
    const { residentMegabytes } = spent(agent.pid ?? 0);
    return { seconds, statusSeconds, residentMegabytes, mapsMegabytes: mapsMegabytes(lab.pinDir) };
  } finally {
    await lab.close();
  }
}
