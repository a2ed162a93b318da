/**
 * Evaluator, programs and iptables on the same generated clouds and conversations, with changes of policy in the middle (D8): after every
 * step they agree. Replays, and longer runs: SEED=… RUNS=… LENGTH=… make fuzz; SHRINK=1 looks for the smallest case.
 */
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import type { At, Outcome } from "../../src/compile/evaluate-types.js";
import { describeFrame } from "../support/describe-frame.js";
import { arbActs, arbWorld, playOut, type Act, type GeneratedWorld } from "../support/generate.js";
import { mac } from "../support/packet.js";
import { repair } from "../support/repair.js";
import { tapName } from "../support/resources.js";
import { evaluatorImplementation } from "./evaluator.js";
import { IptablesWorld } from "./iptables.js";
import { kernelImplementation, MANY_FLOWS } from "./kernel.js";
import { Stricter } from "./stricter.js";
import { difference, Fragments, HOST_TOOK_IT } from "./three-way.js";
import { UPLINK_MACS, type ConformanceWorld } from "./world.js";

const number = (name: string, fallback: number): number => Number(process.env[name] ?? fallback);
const RUNS = number("RUNS", 200);
const LENGTH = number("LENGTH", 100);
/** `make test` repeats one; `make fuzz` looks for what nobody has seen yet. */
const SEED = number("SEED", process.env["FUZZ"] === "1" ? Math.floor(Math.random() * 0x7fffffff) : 20261129);

const kernel = kernelImplementation("bpf", "build/tap.bpf.o", undefined, MANY_FLOWS);
const rules = new IptablesWorld(1);
afterAll(() => Promise.all([kernel.close(), rules.close()]));

/** Taps that no endpoint of the world has are there as well: to make and remove them takes longer than all the rest. */
function withAllTaps(world: GeneratedWorld): ConformanceWorld {
  const all = Array.from({ length: 7 }, (_, i) => i + 2).map((n) => {
    const hostMac = `fe:16:3e:00:01:${n.toString(16).padStart(2, "0")}` as never;
    const name = tapName(`g${n}`);
    return [name, world.taps.get(name) ?? { ifindex: 300 + n, hostMac, mtu: 1500 }] as const;
  });
  return { ...world, taps: new Map(all) };
}

/**
 * Whether it is about an address that several guests have, one of them here: which of them is meant the programs follow by announcements and
 * flows, the kernel's routes do not (README; what they may bring to whom: iptables.test.ts).
 */
function isShared(frame: Uint8Array, { places }: GeneratedWorld): boolean {
  const text = describeFrame(frame);
  return ["10.65.0.100", "2001:db8:65::100"].some((address) => {
    const holders = places.filter(({ v4, v6 }) => v4.includes(address) || v6.includes(address));
    return holders.length > 1 && holders.some(({ kind }) => kind === "local") && text.split(/[ ,]+/).includes(address);
  });
}

/**
 * Whether a guest without port security sends it in the name of another of this host: so the two share an address. Who hears the answers
 * the programs know by the flow, the kernel's routes do not (README; differential.test.ts has such packets).
 */
function isBorrowed(at: At, frame: Uint8Array, { places, resources }: GeneratedWorld): boolean {
  if (!("tap" in at)) return false;
  const sender = places.find(({ name }) => tapName(name) === at.tap);
  const isOpen = resources.some(({ object }) => {
    const { name, annotations } = object["metadata"] as { name: string; annotations?: Record<string, string> };
    return name.endsWith(`-${sender?.name ?? ""}`) && annotations?.["torbie/port-security"] === "off";
  });
  const source = sourceOf(frame);
  const others = places.filter((place) => place.kind === "local" && place !== sender);
  return isOpen && source !== undefined && others.some(({ v4, v6 }) => v4.includes(source) || v6.includes(source));
}

const sourceOf = (frame: Uint8Array): string | undefined => /, (\S+) > \S+ (?:ttl|hop)/.exec(describeFrame(frame))?.[1];

function isOwned(frame: Uint8Array, { places }: GeneratedWorld): boolean {
  const source = sourceOf(frame) ?? "";
  return places.some(({ kind, v4, v6 }) => kind === "local" && (v4.includes(source) || v6.includes(source)));
}

const hasStateless = ({ resources }: ConformanceWorld): boolean =>
  resources.some(({ object }) => JSON.stringify(object).includes('"torbie/stateful":"false"'));

function essence(outcome: Outcome): string {
  const { verdict } = outcome;
  if (verdict === "deliver") return `deliver to ${outcome.to}`;
  return verdict === "stack" ? `stack ${outcome.why}` : verdict;
}

const counts = { policies: 0, packets: 0, passed: 0, stricter: 0, changes: 0 };
let loaded = false;

/** What is different, with all that was said until then; undefined: nothing is. */
async function play(world: GeneratedWorld, acts: readonly Act[]): Promise<string | undefined> {
  const evaluator = evaluatorImplementation();
  await evaluator.load(world);
  await kernel.load(world);
  await (loaded ? rules.update(withAllTaps(world)) : rules.load(withAllTaps(world)));
  await rules.forget();
  loaded = true;
  const fragments = new Fragments();
  const stricter = new Stricter();
  const said: string[] = [];
  let anyStateless = hasStateless(world);
  const steps = playOut(world, acts, 1000 + ((counts.policies++ * 211) % 60_000));
  for (const [i, step] of steps.entries()) {
    if ("change" in step) {
      said.push("the policy changes");
      counts.changes++;
      anyStateless ||= hasStateless(step.change);
      await Promise.all([
        evaluator.update(step.change),
        kernel.update(step.change),
        rules.update(withAllTaps(step.change)),
      ]);
      continue;
    }
    if (isShared(step.frame, world) || isBorrowed(step.at, step.frame, world)) continue;
    // What comes in from the uplink is addressed to it: anything else is for another machine.
    if ("uplink" in step.at) step.frame.set(mac(UPLINK_MACS.to), 0);
    if (!step.certain) repair(step.frame);
    // So close together that no connection ends by itself: the kernel's time can't be made to pass.
    const now = i / 1000;
    const known = evaluator.opened();
    const [wanted, got, seen] = await Promise.all([
      evaluator.receive(step.at, step.frame, now),
      kernel.receive(step.at, step.frame, now),
      rules.receive(step.at, step.frame),
    ]);
    counts.packets++;
    if (wanted.verdict !== "drop") counts.passed++;
    const place = "uplink" in step.at ? step.at.uplink : step.at.tap;
    const why = wanted.verdict === "drop" ? ` ${wanted.reason}` : "";
    said.push(`${i} ${place}: ${describeFrame(step.frame)} => ${essence(wanted)}${why}`);
    const dropped = seen.frames.length === 0 && !seen.host;
    // The kernel tracks nothing whose L4 header contradicts itself; the programs look at ports and flags alone.
    const begins = evaluator.opened() > known;
    const may =
      stricter.may(step.frame, wanted, { dropped, begins, anyStateless }) ?? (step.certain ? undefined : "damaged");
    const differs =
      essence(got) === essence(wanted)
        ? fragments.whole(step.frame, wanted, seen, () =>
            difference(step.at, step.frame, isOwned(step.frame, world), wanted, seen),
          )
        : `the programs say ${essence(got)}`;
    const tolerated = dropped
      ? may !== undefined
      : wanted.verdict === "drop" && stricter.mayPass(step.frame) !== undefined;
    if (differs !== undefined && tolerated && essence(got) === essence(wanted)) counts.stricter++;
    else if (differs !== undefined)
      return `${said.join("\n")}\nbut ${differs}\nthe frame: ${Buffer.from(step.frame).toString("hex")}`;
  }
  return undefined;
}

it(
  `evaluator, programs and iptables agree on ${RUNS} policies (seed ${SEED})`,
  async () => {
    const different: string[] = [];
    await fc.assert(
      fc.asyncProperty(arbWorld(), arbActs(LENGTH), async (world, acts) => {
        let differs = await play(world, acts);
        // What the host takes is counted for all of it, and its timers make it tell itself things: what packets cause comes again.
        if (differs?.includes(HOST_TOOK_IT) === true) differs = await play(world, acts);
        if (differs === undefined) return;
        if (process.env["ALL"] === undefined) expect.fail(differs);
        different.push(process.env["ALL"] === "2" ? differs : differs.split("\n").slice(-3).join("\n"));
      }),
      {
        numRuns: RUNS,
        seed: SEED,
        endOnFailure: process.env["SHRINK"] === undefined,
        reporter: ({ failed, errorInstance, counterexample }) => {
          if (!failed) return;
          const [world] = counterexample ?? [];
          const resources = JSON.stringify(world?.resources.map(({ object }) => object));
          throw new Error(`SEED=${SEED}: ${(errorInstance as Error).message}\nin ${resources}`);
        },
      },
    );
    expect(different).toEqual([]);
    expect(counts.passed).toBeGreaterThan(counts.packets / 10);
    // Few: else the test proves nothing about established connections.
    expect(counts.stricter).toBeLessThan(counts.passed / 10);
    console.log(`SEED=${SEED}`, counts);
  },
  number("SECONDS", 1500) * 1000,
);
