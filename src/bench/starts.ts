/** Start, restart and upgrade with few taps and with many: time, packets lost, memory. */
import { exponentOf, plain, type Curve, type Figure } from "./figures.js";
import type { OtherBuild } from "./other-build.js";
import { reason } from "./reason.js";
import type { RestartScenario, Restarts, Stage } from "./restart.js";
import type { Measured } from "./changes.js";
import type { Apart } from "./whole.js";

const TAPS = [10, 100, 1_000, 4_000];
const STAGES = ["start", "restart", "upgrade", "otherLayout"] as const;
type StageName = (typeof STAGES)[number];
const NAMES: Readonly<Record<StageName, string>> = {
  start: "start",
  restart: "restart",
  upgrade: "upgrade",
  otherLayout: "upgrade_other_layout",
};
const VERSUS: Readonly<Record<StageName, string>> = {
  start: "cold start of the agent",
  restart: "agent killed and started again",
  upgrade: "agent ended and started again, as a package's upgrade does",
  otherLayout: "agent ended, a build with other records started, which takes over",
};

const ended = (stage: StageName): boolean => stage !== "start";
const lostOf = (found: Restarts): number =>
  STAGES.filter(ended).reduce((sum, name) => sum + (found[name]?.lost ?? 0), 0);

/** The promised figure, and in a full run all sizes. */
export async function startFigures(apart: Apart, quick: boolean): Promise<Measured> {
  const few = await apart<Restarts>("--restart", { taps: 2 } satisfies RestartScenario);
  const vs = `${few.found?.sent ?? 0} sent while the agent was killed, ended and started twice`;
  const promised = plain("restart_lost_packets", few.found && lostOf(few.found), "packets", vs, few.why);
  if (quick) return { figures: [promised], curves: [] };
  let [build, whyNone]: [OtherBuild | undefined, string | undefined] = [undefined, undefined];
  try {
    // It wants compilers, which not every machine has that a short run is for (test/vm).
    const { otherBuild, otherLayout } = await import("./other-build.js");
    build = otherBuild({ "abi.h": otherLayout });
  } catch (error) {
    whyNone = reason(error);
  }
  try {
    const found = new Map<number, Restarts>();
    const figures: Figure[] = [promised];
    for (const taps of TAPS) {
      const scenario = { taps, ...(build === undefined ? {} : { other: build.program }) };
      const { found: one, why } = await apart<Restarts>("--restart", scenario satisfies RestartScenario);
      if (one !== undefined) found.set(taps, one);
      figures.push(...figuresOf(taps, one, why ?? whyNone));
    }
    const curves = curvesOf(found);
    return { figures: [...figures, ...curves.map(exponentOf), ...marginal(found)], curves };
  } finally {
    build?.remove();
  }
}

function figuresOf(taps: number, found: Restarts | undefined, why: string | undefined): Figure[] {
  const each = STAGES.flatMap((name) => {
    const stage = found?.[name];
    const of = (what: string): string => `taps_${taps}_${NAMES[name]}_${what}`;
    const vs = `${VERSUS[name]}, ${taps} taps`;
    return [
      ...(name === "start" && taps === 1_000 ? [] : [plain(of("s"), stage?.seconds, "s", vs, why)]),
      plain(of("cpu_s"), stage?.cpuSeconds, "s", `${vs}; user and system time of the agent's process`, why),
      plain(of("rss_mb"), stage?.residentMegabytes, "MB", `${vs}; when all are enforced`, why),
      ...(ended(name) ? [plain(of("lost_packets"), stage?.lost, "packets", vs, why)] : []),
    ];
  });
  return [...each, plain(`taps_${taps}_maps_mb`, found?.mapsMegabytes, "MB", `${taps} taps`, why)];
}

function curvesOf(found: ReadonlyMap<number, Restarts>): Curve[] {
  const along = (
    name: string,
    what: string,
    unit: string,
    judge: string,
    of: (one: Restarts) => number | undefined,
  ) => {
    const points = [...found].flatMap(([x, one]) => {
      const y = of(one);
      return y === undefined ? [] : [{ x, y }];
    });
    return points.length < 2 ? [] : [{ name, what, unit, judge, grows: "taps", points }];
  };
  const stages = (what: string, title: string, unit: string, of: (stage: Stage) => number): Curve[] =>
    STAGES.flatMap((name) =>
      along(`taps_${NAMES[name]}_${what}`, title, unit, VERSUS[name], (one) => {
        const stage = one[name];
        return stage && of(stage);
      }),
    );
  return [
    ...stages("s", "Until every tap is enforced", "s", ({ seconds }) => seconds),
    ...stages("cpu_s", "CPU time of the agent until then", "s", ({ cpuSeconds }) => cpuSeconds),
    ...stages("rss_mb", "Memory of the agent", "MB", ({ residentMegabytes }) => residentMegabytes),
    ...along("taps_maps_mb", "Memory of the maps", "MB", "all maps", ({ mapsMegabytes }) => mapsMegabytes),
  ];
}

/** What a tap more costs among thousands, to what it costs among hundreds: 1 is linear, whatever a start costs without taps. */
function marginal(found: ReadonlyMap<number, Restarts>): Figure[] {
  const [few, many, most] = [100, 1_000, 4_000].map((taps) => found.get(taps));
  const vs = "a tap's CPU time between 100 and 1,000 taps";
  return STAGES.map((name) => {
    const cpu = (one: Restarts | undefined): number => one?.[name]?.cpuSeconds ?? NaN;
    const value = (cpu(most) - cpu(many)) / 3_000 / ((cpu(many) - cpu(few)) / 900);
    return plain(`taps_4000_${NAMES[name]}_cpu_each_vs_1000`, value, "ratio", vs);
  });
}
