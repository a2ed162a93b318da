/** `--dataplane auto` where the agent may not load BPF: iptables enforces, and it says why. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud } from "../support/cloud.js";
import { expectNothingLost, TALKERS, TALKERS_GROUPS, under } from "../support/continuity.js";
import { serve } from "../support/stream.js";

/** Root, but bpf(2) is refused: by lack of a capability, or as the seccomp filter of a container does it (all of them are there). */
const WITHOUT_BPF = {
  "without the capability": [
    "setpriv",
    "--bounding-set",
    "-bpf,-perfmon,-sys_admin",
    "--inh-caps",
    "-bpf,-perfmon,-sys_admin",
  ],
  "by a seccomp filter": [fileURLToPath(new URL("../../build/refuse-bpf", import.meta.url))],
};

describe.each(Object.entries(WITHOUT_BPF))("bpf(2) refused %s", (how, prefix) => {
  let cloud: Cloud;
  const stops: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    cloud = await Cloud.create(TALKERS, TALKERS_GROUPS, ["--resync", "5m"], prefix);
    await cloud.world.announce(`${cloud.guest("server").v4}/32`);
    stops.push((await serve(cloud.guest("server").namespace)).stop);
  }, 180_000);

  afterAll(async () => {
    await Promise.all(stops.map((stop) => stop()));
    await cloud?.close();
  });

  it("iptables is chosen, and status says why", async () => {
    expect(cloud.agent.status()?.dataplane).toMatchObject({
      name: "iptables",
      why: expect.stringMatching(
        /^not BPF, since kernel \S+ does not let this process load BPF programs .*: iptables \d/s,
      ) as string,
    });
    const text = await cloud.agent.torbie(["status"]);
    expect(text).toMatch(/dataplane +iptables: not BPF, since /);
  });

  // The rules are the same ones: once is enough.
  if (how === "without the capability")
    it("the same traffic passes, and what is forbidden does not", async () => {
      expectNothingLost(await under(cloud, () => new Promise((resolve) => setTimeout(resolve, 1_000))));
    }, 60_000);

  it("bpf, asked for by name, is refused with what is missing; what stands goes on", async () => {
    await cloud.agent.stop();
    cloud.agent.more = ["--dataplane", "bpf"];
    await expect(cloud.agent.startEnforcing(2)).rejects.toThrow(
      /BPF_REFUSED|does not let this process load BPF programs/,
    );
    expect(await cloud.world.host.run(["iptables-save", "-t", "raw"])).toContain("TRB-raw");
  });
});
