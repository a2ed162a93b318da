/** What guests notice of an agent that is killed, restarted and upgraded under their traffic: nothing (D6). */
import { readdirSync, renameSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cloud } from "../support/cloud.js";
import {
  expectEstablishedSurvived,
  expectNothingLost,
  TALKERS,
  TALKERS_GROUPS,
  under as during,
  type Seen,
} from "../support/continuity.js";
import { otherBuild, otherLayout, type OtherBuild } from "../../src/bench/other-build.js";
import { serve } from "../support/stream.js";

let cloud: Cloud;
let here: string;
let sameLayout: OtherBuild;
let elsewhere: OtherBuild;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  // A line more: the objects differ, by their debug information, and nothing else.
  sameLayout = otherBuild({ "tap.bpf.c": (text) => `\n${text}` });
  elsewhere = otherBuild({ "abi.h": otherLayout });
  cloud = await Cloud.create(TALKERS, TALKERS_GROUPS, ["--resync", "5m"]);
  here = cloud.agent.program;
  const address = cloud.guest("server").v4;
  await cloud.world.announce(`${address}/32`);
  stops.push((await serve(cloud.guest("server").namespace)).stop);
}, 180_000);

afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await cloud?.close();
  for (const build of [sameLayout, elsewhere]) build?.remove();
});

const under = (act: () => Promise<unknown>): Promise<Seen> => during(cloud, act);
const versions = (): string[] => readdirSync(cloud.agent.workspace.pinDir).sort();

/** The machine is busy with the traffic: patience. */
async function startEnforcing(): Promise<void> {
  const enforced = cloud.agent.applied((event) => event.enforced === 2, "both guests were enforced", 60_000);
  cloud.agent.start();
  await enforced;
}

async function become(program: string): Promise<void> {
  await cloud.agent.stop();
  cloud.agent.program = program;
  await startEnforcing();
}

describe("nothing is lost, no flow ends", { timeout: 120_000 }, () => {
  it("while nothing happens (or else the other tests prove nothing)", async () => {
    expectNothingLost(await under(() => new Promise((resolve) => setTimeout(resolve, 1_000))));
  });

  it("kill -9, and the next agent", async () => {
    const seen = await under(async () => {
      await cloud.agent.kill();
      await startEnforcing();
    });
    expectNothingLost(seen);
  });

  it("SIGTERM, and a start", async () => {
    const seen = await under(() => become(here));
    expectNothingLost(seen);
  });

  it("an upgrade to other programs of the same layout, and back", async () => {
    const before = versions();
    const seen = await under(async () => {
      await become(sameLayout.program);
      await become(here);
    });
    expectNothingLost(seen);
    expect(versions()).toEqual(before);
  });
});

/** The agent's last words about a takeover. */
function takeover(): Takeover {
  const line = cloud.agent.lastLines.split("\n").findLast((text) => text.includes('"takeover"'));
  return (JSON.parse(line ?? "{}") as { takeover: Takeover }).takeover;
}
interface Takeover {
  readonly adopted: number;
  readonly merged: number;
  readonly refused: number;
  readonly leftOut: number;
  readonly unreadable: readonly unknown[];
  readonly swapMilliseconds: number;
}

describe("another layout", { timeout: 120_000 }, () => {
  it("established flows survive, nothing is open for a moment, and the former build's pins are gone", async () => {
    const [before] = versions();
    const seen = await under(() => become(elsewhere.program));
    expectEstablishedSurvived(seen);
    expect(versions()).toEqual([`v9${before?.slice(1) ?? ""}`]);
    expect(takeover()).toMatchObject({ refused: 0, unreadable: [] });
    expect(takeover().adopted).toBeGreaterThan(3);
  });

  it("and back", async () => {
    const [before] = versions();
    const seen = await under(() => become(here));
    expectEstablishedSurvived(seen);
    expect(versions()).toEqual([`v${before?.slice(2) ?? ""}`]);
    expect(takeover()).toMatchObject({ refused: 0, unreadable: [] });
  });

  it("while the datastore is away, the former build's programs go on; the new build takes over when it is back", async () => {
    const away = `${cloud.policyDir}.away`;
    const [before] = versions();
    const seen = await under(async () => {
      await cloud.agent.stop();
      renameSync(cloud.policyDir, away);
      cloud.agent.program = elsewhere.program;
      const problem = new Promise<void>((resolve) => {
        const done = cloud.agent.follow((news) => {
          if (news.type !== "problem" || news.problem.code !== "TAKING_OVER") return;
          done();
          resolve();
        });
      });
      cloud.agent.start();
      await problem;
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(versions()).toEqual([before, `v9${before?.slice(1) ?? ""}`].sort());
      const enforced = cloud.agent.applied((event) => event.enforced === 2, "the datastore was back");
      renameSync(away, cloud.policyDir);
      await enforced;
    });
    expectEstablishedSurvived(seen);
    expect(versions()).toEqual([`v9${before?.slice(1) ?? ""}`]);
  });

  it("killed again and again in the middle of it, and started again: it is finished, and nothing was open", async () => {
    const seen = await under(async () => {
      await cloud.agent.stop();
      cloud.agent.program = here;
      for (const patience of [0, 50, 100, 200, 300, 400]) {
        cloud.agent.start();
        // Its own maps are pinned: from now on it fills them, copies flows, swaps programs.
        await expect.poll(() => versions().length, { timeout: 60_000, interval: 5 }).toBe(2);
        await new Promise((resolve) => setTimeout(resolve, patience));
        await cloud.agent.kill();
        if (versions().length === 1) break; // it was quicker than that
      }
      await startEnforcing();
    });
    expectEstablishedSurvived(seen);
    expect(versions()).toHaveLength(1);
  });
});
