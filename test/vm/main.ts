/**
 * The matrix of kernels: `make vm-test` (README.md). Prints what failed, or with VERBOSE every test, and closes with one line,
 * "N passed, M failed"; whatever is wrong with a machine counts as a failure more.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { makeImage } from "../guest/image.js";
import { bare, BENCHES, BOOTS, GUEST_KERNEL, hasGuest, MORE, SHORT, whole, type Boot } from "./boots.js";
import { bundleSuites } from "./bundle.js";
import { boot, leaves, unpack, type Accelerator, type Result } from "./qemu.js";
import { usableKvm } from "./kvm.js";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function chosen(names: readonly string[]): readonly Boot[] {
  const known = [...BOOTS, ...MORE, SHORT, ...BENCHES];
  const unknown = names.filter((name) => known.every((one) => one.name !== name));
  if (unknown.length > 0)
    throw new Error(`no boot ${unknown.join(", ")}: there are ${known.map(({ name }) => name).join(", ")}`);
  return names.length === 0 ? BOOTS : known.filter(({ name }) => names.includes(name));
}

/** SUITES='agent': those alone, in boots that have them. */
function narrowed(boots: readonly Boot[], suites: readonly string[]): readonly Boot[] {
  if (suites.length === 0) return boots;
  return boots
    .map((one) => ({ ...one, suites: one.suites.filter((suite) => suites.includes(bare(suite))) }))
    .filter((one) => one.suites.length > 0);
}

const words = (variable: string): string[] =>
  (process.env[variable] ?? "").split(/[\s,]+/).filter((word) => word !== "");

function run(script: string, ...words: readonly string[]): void {
  const { status } = spawnSync(script, words, { stdio: "inherit" });
  if (status !== 0) throw new Error(`${script} failed: see above`);
}

async function accelerator(): Promise<Accelerator> {
  const wish = process.env["VM_ACCEL"] ?? "auto";
  if (wish === "kvm" || wish === "tcg") return wish;
  if (wish !== "auto") throw new Error(`VM_ACCEL=${wish}: it is auto, kvm or tcg`);
  return (await usableKvm()) ? "kvm" : "tcg";
}

function report(one: Boot, { passed, failed, skipped, faults, seconds, processorSeconds, files }: Result): void {
  for (const fault of faults) say(`${one.name}: FAILED ${fault}`);
  say(
    `${one.name}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s (${processorSeconds} s of a processor); ${files.output}, ${files.kernel}`,
  );
}

async function main(): Promise<number> {
  const [names, suites] = [words("BOOTS"), words("SUITES")];
  const named = narrowed(chosen(names), suites);
  if (named.length === 0) throw new Error(`SUITES=${suites.join(" ")}: none of these boots has one`);
  const guests = named.some(hasGuest);
  run("test/vm/fetch", ...new Set([...named.map(({ kernel }) => kernel), ...(guests ? [GUEST_KERNEL] : [])]));
  // It boots one of them.
  const by = await accelerator();
  const table = process.env["TABLE"] ?? (by === "kvm" ? "whole" : "thin");
  if (table !== "whole" && table !== "thin") throw new Error(`TABLE=${table}: it is whole or thin`);
  const more = names.length === 0 ? narrowed(MORE, suites) : [];
  const boots = table === "whole" ? whole([...named, ...more]) : named;
  rmSync("build/vm/log", { recursive: true, force: true });
  await bundleSuites();
  const guest = guests ? makeImage("initramfs-vm", { kernel: GUEST_KERNEL }) : undefined;
  run("test/vm/image");
  say(`vm-test: ${boots.map(({ name }) => name).join(", ")}; by ${by}`);
  const waiting = [...boots];
  // A boot that runs is ended by itself (boot); no other begins.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => waiting.splice(0));
  const results: Result[] = [];
  const quiet = process.env["VERBOSE"] === undefined;
  const alone = boots.length === 1;
  const worker = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
      const { name } = one;
      const result = await boot(one, by, hasGuest(one) ? guest : undefined, (text) => {
        if (!(quiet && text.startsWith("ok "))) say(alone ? text : `${name}: ${text}`);
      });
      report(one, result);
      if (leaves(one) && result.faults.length === 0) say(`${name}: what it has written is in ${unpack(name)}`);
      results.push(result);
    }
  };
  // One processor each: two boots are through sooner than one of two processors after the other.
  await Promise.all(Array.from({ length: Number(process.env["JOBS"] ?? "2") }, worker));
  const sum = (count: (result: Result) => number): number => results.reduce((total, one) => total + count(one), 0);
  const failed = sum(({ failed, faults }) => failed + faults.length);
  say(`${sum(({ passed }) => passed)} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

try {
  process.exit(await main());
} catch (error) {
  say(`vm-test: ${error instanceof Error ? error.message : String(error)}`);
  say("0 passed, 1 failed");
  process.exit(1);
}
