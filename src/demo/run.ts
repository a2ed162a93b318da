/** The demo from beginning to end: make a cloud, measure, explain, follow the directory, take everything away. */
import { release } from "node:os";
import { relative } from "node:path";
import { columns } from "../cli/output.js";
import { escape } from "../text.js";
import { policiesOf } from "./cast.js";
import { describeChange, describeProblem } from "./change.js";
import { describePolicy } from "./describe.js";
import { explain } from "./explain.js";
import { familiesAgree, matrixChanges, matrixRows, type Matrix } from "./matrix.js";
import { Stage } from "./stage.js";
import { suggestEdit } from "./suggest.js";

export interface DemoOptions {
  readonly policyDir: string;
  /** Print and end. */
  readonly once: boolean;
  /** Of the agent; absent: as it chooses. */
  readonly dataplane: string | undefined;
  readonly print: (text: string) => void;
  /** What it is busy with, until something is printed. */
  readonly progress: (text: string) => void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * Resolves when it has ended and everything it made is gone.
 * @throws TorbieError when the machine or the directory does not allow a demo
 */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { policyDir, once, print, signal } = options;
  const stage = await Stage.create(policyDir, options.dataplane);
  const interrupted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  try {
    const play = perform(stage, options);
    // An error that comes of tearing down under it is no news.
    play.catch(() => undefined);
    await Promise.race([play, interrupted]);
    if (!once && !signal.aborted) await interrupted;
    if (signal.aborted) print("\nremoving guests, taps and namespaces\n");
  } finally {
    await stage.close();
  }
}

async function perform(stage: Stage, { policyDir, once, print, progress, signal }: DemoOptions): Promise<void> {
  progress(`making ${stage.model.locals.size} guests, loading the programs …`);
  await stage.open();
  progress("trying everything …");
  let matrix = await stage.measure();
  const near = relative(process.cwd(), policyDir) || ".";
  const shown = `${near.startsWith("..") ? policyDir : near}/`;
  print(headline(stage, shown));
  print(table(matrix));
  for (const line of await explain(stage, matrix)) print(`${line}\n`);
  if (once || signal.aborted) return;
  const suggestion = suggestEdit(policyDir, shown, new Set([...stage.model.policies.values()].map(({ name }) => name)));
  if (suggestion !== undefined) print(`Try:  ${suggestion}\n`);
  print("Stop: Ctrl-C, removes everything it made\n");

  stage.onProblem((problem, solved) => print(describeProblem(problem, solved, policyDir, shown)));
  stage.onApplied(async (event) => {
    try {
      const now = await stage.measure();
      print(describeChange(event, matrixChanges(matrix, now), policyDir, shown));
      matrix = now;
    } catch (error) {
      if (!signal.aborted)
        print(`could not be tried: ${escape(error instanceof Error ? error.message : String(error))}\n`);
    }
  });
}

function headline(stage: Stage, shown: string): string {
  const { model, cast, dataplane } = stage;
  const order = cast.players.flatMap(({ groups: names }) => names);
  const groups = [...model.policies.values()].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const subnets = new Set(cast.players.map(({ subnets: [first] }) => first));
  const kernel = release().split(".").slice(0, 2).join(".");
  const guests = cast.players.map(({ spec, groups: names }) => {
    const [address = "no address"] = spec.addresses;
    return escape(`${spec.name} ${address.split("/")[0] ?? ""} ${names.join(",") || "in no group"}`);
  });
  const admits = groups
    .filter((group) => [...model.locals.values()].some((local) => policiesOf(model, local).includes(group)))
    .map((group) => escape(`${group.name}: ${describePolicy(group)}`));
  return [
    `Torbie demo: ${count(guests.length, "guest")}, ${count(groups.length, "group")}, ${count(subnets.size, "subnet")}` +
      `   policy: ${escape(shown)}   dataplane: ${dataplane} (kernel ${kernel})`,
    guests.join("   "),
    ...(admits.join("      ").length <= 120 ? [admits.join("      ")] : admits),
    "",
    "",
  ].join("\n");
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;

function table(matrix: Matrix): string {
  const { header, rows } = matrixRows(matrix);
  const families = familiesAgree(matrix) ? "v4 and v6 alike" : "v4 and v6, where they differ both are said";
  return `Tried just now with real packets (${families}):\n${columns(header, rows)}`;
}
