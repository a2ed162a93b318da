/** From one dataplane to the other and back on a host whose guests talk: established connections go on, and nothing is open for a moment. */
import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud } from "../support/cloud.js";
import { expectEstablishedSurvived, expectNothingLost, TALKERS, TALKERS_GROUPS, under } from "../support/continuity.js";
import { serve } from "../support/stream.js";

type Dataplane = "bpf" | "iptables";

let cloud: Cloud;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  cloud = await Cloud.create(TALKERS, TALKERS_GROUPS, ["--resync", "5m"]);
  await cloud.world.announce(`${cloud.guest("server").v4}/32`);
  stops.push((await serve(cloud.guest("server").namespace)).stop);
}, 180_000);

afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await cloud?.close();
});

async function startEnforcing(): Promise<void> {
  const enforced = cloud.agent.applied((event) => event.enforced === 2, "both guests were enforced", 60_000);
  cloud.agent.start();
  await enforced;
}

async function become(dataplane: Dataplane): Promise<void> {
  await cloud.agent.stop();
  cloud.agent.more = ["--dataplane", dataplane];
  await startEnforcing();
}

const host = (...argv: string[]): Promise<string> => cloud.world.host.run(argv);

interface Left {
  readonly pins: number;
  readonly filters: string;
  readonly chains: boolean;
  readonly sets: string;
  readonly link: boolean;
}

/** What there is of either dataplane on the host. */
async function left(): Promise<Left> {
  const { pinDir } = cloud.agent.workspace;
  const taps = TALKERS.map(({ spec }) => spec.tap);
  const filters = await Promise.all(
    taps.flatMap((tap) =>
      ["ingress", "egress"].map((direction) => host("tc", "filter", "show", "dev", tap, direction).catch(() => "")),
    ),
  );
  return {
    pins: existsSync(pinDir) ? readdirSync(pinDir).length : 0,
    filters: filters.join("").trim(),
    chains: (await host("iptables-save", "-t", "raw")).includes("TRB-"),
    sets: (await host("ipset", "list", "-n")).trim(),
    link: (await host("nft", "list", "tables")).includes("netdev torbie_link"),
  };
}

async function expectOnly(dataplane: Dataplane): Promise<void> {
  const found = await left();
  const isBpf = dataplane === "bpf";
  expect({ ...found, filters: found.filters !== "", sets: found.sets !== "" }).toEqual({
    pins: isBpf ? 1 : 0,
    filters: isBpf,
    chains: !isBpf,
    sets: !isBpf,
    link: !isBpf,
  });
  expect(cloud.agent.status()?.dataplane.name).toBe(dataplane);
}

interface Takeover {
  readonly created?: number;
  readonly adopted?: number;
  readonly failed?: readonly string[];
  readonly refused?: number;
  readonly swapMilliseconds: number;
}
function takeover(): Takeover {
  const line = cloud.agent.lastLines.split("\n").findLast((text) => text.includes('"takeover"'));
  return (JSON.parse(line ?? "{}") as { takeover: Takeover }).takeover;
}

describe("switching", { timeout: 180_000 }, () => {
  it("the programs chosen by themselves enforce first", async () => {
    await expectOnly("bpf");
    expect(cloud.agent.status()?.dataplane.why).toContain("the best that this machine has");
  });

  it("to iptables", async () => {
    const seen = await under(cloud, () => become("iptables"));
    expectEstablishedSurvived(seen);
    await expectOnly("iptables");
    expect(takeover().failed).toEqual([]);
    expect(takeover().created).toBeGreaterThan(3);
  });

  it("an iptables agent that is killed and started again loses nothing", async () => {
    const seen = await under(cloud, async () => {
      await cloud.agent.kill();
      await startEnforcing();
    });
    expectNothingLost(seen);
  });

  it("back to the programs", async () => {
    const seen = await under(cloud, () => become("bpf"));
    expectEstablishedSurvived(seen);
    await expectOnly("bpf");
    expect(takeover()).toMatchObject({ refused: 0 });
    expect(takeover().adopted).toBeGreaterThan(3);
  });

  it("there and back under one and the same traffic", async () => {
    const seen = await under(cloud, async () => {
      await become("iptables");
      await become("bpf");
    });
    expectEstablishedSurvived(seen);
    await expectOnly("bpf");
  });

  it.each<[Dataplane, Dataplane]>([
    ["bpf", "iptables"],
    ["iptables", "bpf"],
  ])(
    "from %s to %s, killed again and again in the middle of it: it is finished, and nothing was open",
    async (_, to) => {
      const seen = await under(cloud, async () => {
        await cloud.agent.stop();
        cloud.agent.more = ["--dataplane", to];
        for (const patience of [300, 600, 800, 1000, 1200, 1400]) {
          cloud.agent.start();
          await new Promise((resolve) => setTimeout(resolve, patience));
          await cloud.agent.kill();
        }
        await startEnforcing();
      });
      expectEstablishedSurvived(seen);
      await expectOnly(to);
    },
  );
});
