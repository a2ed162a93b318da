/**
 * `make bench`: what Torbie costs, as ratios to the limits and to the peers, all in one run (DESIGN, "How speed is judged").
 * Prints a table and a JSON line a figure; writes build/bench/bench.json and .html. QUICK=1 measures less of the same.
 */
import { fileURLToPath } from "node:url";
import { sweep } from "../demo/world/namespace.js";
import { PATIENCE } from "../demo/world/patience.js";
import { measureBurst, type BurstScenario } from "./burst.js";
import { changeFigures, type Measured } from "./changes.js";
import { connectionFigures, enforceSide, measureConnections, type Side } from "./connections.js";
import { median, spread, type Curve, type Figure } from "./figures.js";
import { measureLatency, type Scenario } from "./latency.js";
import { thisMachine, withoutLiveFrames } from "./machine.js";
import { curvesOf, measurePackets, packetFigures, type PacketCosts } from "./packets.js";
import type { Role } from "./plan.js";
import { measureRestart, type RestartScenario } from "./restart.js";
import { PROMISED, Results } from "./results.js";
import { measureScale, type Size } from "./scale.js";
import { startFigures } from "./starts.js";
import { apartIn, scaleFigures } from "./whole.js";
import { againstTargets, verdictOf, type Judged } from "./targets.js";
import { work } from "./worker.js";
import { writeReport } from "./write-report.js";

const SELF = fileURLToPath(import.meta.url);
const quick = process.env["QUICK"] === "1";
const ROUNDS = quick ? 5 : 15;
/** Milliseconds. A quiet machine needs far less; on a busy one what is left by then is left out. */
const QUICK_LIMIT = 420_000 * PATIENCE;
const PACKET_PATIENCE = (quick ? 60_000 : 600_000) * PATIENCE;
const PART_LIMIT = (quick ? 150_000 : 400_000) * PATIENCE;

function printTable({ samples, failed, rounds }: PacketCosts): void {
  const floor = median(samples["floor"] ?? []);
  const net = (values: readonly number[]): string => String(Math.round(median(values) - floor)).padStart(8);
  console.log(
    `64-byte UDP between real taps, ${rounds} interleaved rounds, medians; net of the floor (${Math.round(floor)} ns a packet)\n`,
  );
  console.log("measured                                          net ns   spread");
  for (const [name, values] of Object.entries(samples))
    console.log(`${name.padEnd(46)} ${net(values)}   ${(spread(values) * 100).toFixed(0).padStart(4)} %`);
  for (const [name, why] of failed) console.log(`${name.padEnd(46)}   failed: ${why}`);
  console.log("");
}

function printTargets(targets: readonly Judged[]): void {
  console.log("\ntarget                                               value  at most");
  for (const one of targets)
    console.log(
      `${one.name.padEnd(48)} ${String(one.value ?? "–").padStart(9)} ${String(one.atMost).padStart(8)}   ${verdictOf(one)}${one.why === "" ? "" : `: ${one.why}`}`,
    );
}

async function main(): Promise<void> {
  sweep();
  // What is to be removed is removed at exit.
  for (const [signal, status] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)
    process.once(signal, () => process.exit(status));
  const [machine, began] = [thisMachine(), new Date()];
  const results = new Results((line) => console.log(line));
  const noFrames = withoutLiveFrames(machine.kernel);
  /** @param injected figures of a part that can do nothing without injecting */
  const part = async (name: string, injected: readonly string[], run: () => Promise<readonly Figure[]>) => {
    const late = quick && Date.now() - began.getTime() > QUICK_LIMIT;
    const why = late ? `left out: ${QUICK_LIMIT / 1000} s had passed` : injected.length > 0 ? noFrames : undefined;
    if (why === undefined) await results.phase(name, run);
    else results.leaveOut(name, why, injected);
  };
  let costs: PacketCosts | undefined;
  const startsWith = (...starts: string[]): string[] =>
    PROMISED.filter((name) => starts.some((s) => name.startsWith(s)));
  await part("packets", startsWith("established", "first_packet"), async () => {
    costs = await measurePackets(SELF, { quick, rounds: ROUNDS, patience: PACKET_PATIENCE });
    printTable(costs);
    return packetFigures(costs, quick);
  });
  await part("connections", [], async () => connectionFigures(await measureConnections(SELF, quick ? 5 : 11, quick)));
  const apart = apartIn(SELF, PART_LIMIT);
  const curves: Curve[] = [];
  const growing = async (measured: Promise<Measured>): Promise<readonly Figure[]> => {
    const { figures, curves: more } = await measured;
    curves.push(...more);
    return figures;
  };
  await part("changes", [], () => growing(changeFigures(apart, quick)));
  await part("restart", startsWith("restart"), () => growing(startFigures(apart, quick)));
  await part("scale", [], () => scaleFigures(apart, quick, PART_LIMIT));
  const faults = results.close();
  if (costs !== undefined) curves.unshift(...curvesOf(costs, quick));
  const targets = againstTargets(results.figures);
  printTargets(targets);
  const written = writeReport({
    began: began.toISOString(),
    seconds: Math.round((Date.now() - began.getTime()) / 1000),
    quick,
    machine,
    figures: results.figures,
    samples: costs?.samples ?? {},
    curves,
    targets,
  });
  console.log(`\nwritten: ${written.join(", ")}`);
  for (const [name, why] of results.failures) console.error(`bench: ${name}: ${why}`);
  if (faults.length > 0) {
    console.error(`bench: could not measure ${faults.map(({ name }) => name).join(", ")}`);
    process.exitCode = 1;
  }
}

const [mode, text = "{}"] = process.argv.slice(2);
if (mode === undefined) await main();
else {
  const what: unknown = JSON.parse(text);
  if (mode === "--worker") {
    const { role, quick: short } = what as { role: Role; quick: boolean };
    await work(role, short);
  } else if (mode === "--side") await enforceSide(what as Side);
  else if (mode === "--latency") console.log(JSON.stringify(await measureLatency(what as Scenario)));
  else if (mode === "--burst") console.log(JSON.stringify(await measureBurst(what as BurstScenario)));
  else if (mode === "--restart") console.log(JSON.stringify(await measureRestart(what as RestartScenario)));
  else if (mode === "--scale") console.log(JSON.stringify(await measureScale(what as Size)));
  else throw new Error(`no mode ${mode}`);
}
