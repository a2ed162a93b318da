/** One boot under qemu: started, followed, stopped when it stands still or takes too long. */
import { execFileSync, spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Image } from "../guest/image.js";
import { Beside } from "./beside.js";
import { bare, type Boot } from "./boots.js";
import { judge, type Verdict } from "./judge.js";

export type Accelerator = "kvm" | "tcg";

const KERNELS = "build/vm/kernels";
const LOGS = "build/vm/log";
/** Where the suite "bench" leaves what it wrote, as a tar; read by unpack(). */
const LEFT = "build/vm/left.tar";
const LEFT_BYTES = 64 << 20;
/** Seconds without a word on either line after which it counts as standing still. */
const QUIET: Readonly<Record<Accelerator, number>> = { kvm: 120, tcg: 450 };
/** Five levels of page tables are a detour for who walks them in software. */
const CPU: Readonly<Record<Accelerator, string>> = { kvm: "host", tcg: "max,la57=off" };
/** Only tests whose name has this in it: for whoever looks for a fault. */
const ONLY = process.env["ONLY"] ?? "";
/** As Boot.patience. */
const PATIENCE_KVM = 2;

const drive = (file: string, snapshot = "on"): string[] => [
  "-drive",
  `file=${file},format=raw,if=virtio,snapshot=${snapshot}`,
];
export const leaves = ({ suites }: Boot): boolean => suites.includes("bench");

function argv(one: Boot, accelerator: Accelerator, files: Files, more: readonly string[]): string[] {
  const { kernel, without, refuses, chooses, suites, megabytes, processors, patience } = one;
  const directory = join(KERNELS, kernel);
  const words = [
    "console=ttyS0",
    "panic=-1",
    "oops=panic",
    "quiet",
    "loglevel=5",
    "mitigations=off",
    `torbie.suites=${suites.join(",")}`,
    `torbie.patience=${accelerator === "kvm" ? PATIENCE_KVM : patience}`,
    `torbie.kernel=${kernel}`,
    `torbie.chooses=${chooses}`,
    ...(refuses ? ["torbie.refuses=bpf"] : []),
    ...(ONLY === "" ? [] : [`torbie.only=${ONLY.replaceAll(" ", "_")}`]),
    ...(without.length > 0 ? [`module_blacklist=${without.join(",")}`] : []),
  ];
  return [
    ...["-accel", accelerator, "-cpu", CPU[accelerator], "-smp", `${processors}`, "-m", `${megabytes}`],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-kernel", join(directory, "vmlinuz"), "-initrd", join(directory, "initramfs.gz"), "-append", words.join(" ")],
    ...drive("build/vm/root.ext4"),
    ...drive(join(directory, "modules.ext4")),
    ...(leaves(one) ? drive(LEFT, "off") : []),
    ...["-device", "virtio-rng-pci", "-serial", `file:${files.kernel}`, "-serial", "stdio"],
    ...more,
  ];
}

interface Files {
  readonly kernel: string;
  readonly output: string;
}

export interface Result extends Verdict {
  readonly seconds: number;
  /** Of a processor: what it would take on a machine that does nothing else. */
  readonly processorSeconds: number;
  readonly files: Files;
}

/**
 * @param guest of the suite "guest": booted beside it
 * @param line called with every line of the suites
 */
export function boot(
  one: Boot,
  accelerator: Accelerator,
  guest: Image | undefined,
  line: (text: string) => void,
): Promise<Result> {
  mkdirSync(LOGS, { recursive: true });
  if (leaves(one)) {
    rmSync(LEFT, { force: true });
    writeFileSync(LEFT, "");
    truncateSync(LEFT, LEFT_BYTES);
  }
  const files = { kernel: join(LOGS, `${one.name}.kernel.log`), output: join(LOGS, `${one.name}.log`) };
  const begun = performance.now();
  const beside = guest && new Beside(guest, join(LOGS, `${one.name}.guest.log`));
  const words = argv(one, accelerator, files, beside?.argv ?? []);
  const child = spawn("qemu-system-x86_64", words, { stdio: ["ignore", "pipe", "pipe"] });
  const file = createWriteStream(files.output);
  let output = "";
  let errors = "";
  let rest = "";
  let last = Date.now();
  let seen = 0;
  let spent = 0;
  let ended: string | undefined;
  const stop = (why: string): void => {
    ended ??= why;
    child.kill("SIGKILL");
  };
  const end = (): void => stop("vm-test was stopped");
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  beside?.start().catch((error: unknown) => stop(`its guest can't be booted: ${String(error)}`));
  const watch = setInterval(() => {
    spent = processorSeconds(child.pid) ?? spent;
    const kernel = kernelLog(files.kernel);
    if (kernel.length !== seen) last = Date.now();
    seen = kernel.length;
    if (/Kernel panic/.test(kernel)) stop("the kernel panicked");
    else if (Date.now() - last > QUIET[accelerator] * 1_000)
      stop(`it stood still: no word for ${QUIET[accelerator]} s`);
    else if (performance.now() - begun > one.limit * 1_000) stop(`it took more than ${one.limit} s`);
  }, 1_000);
  child.stdout.on("data", (chunk: Buffer) => {
    file.write(chunk);
    last = Date.now();
    output += chunk.toString("utf8");
    const parts = (rest + chunk.toString("utf8")).split(/\r?\n/);
    rest = parts.pop() ?? "";
    parts.forEach(line);
  });
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString("utf8")));
  return new Promise((resolve) => {
    const over = async (): Promise<void> => {
      clearInterval(watch);
      const complaints = (await beside?.stop().catch((error: unknown) => [String(error)])) ?? [];
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, end);
      file.end();
      const verdict = judge(kernelLog(files.kernel), output, one.suites.map(bare), ended);
      const faults = [...verdict.faults, ...complaints, ...(errors === "" ? [] : [`qemu said: ${errors.trim()}`])];
      resolve({
        ...verdict,
        faults,
        seconds: Math.round((performance.now() - begun) / 1_000),
        processorSeconds: Math.round(spent),
        files,
      });
    };
    child.once("error", (error) => {
      errors += error.message;
      void over();
    });
    child.once("close", () => void over());
  });
}

/** User and system time of a process, by the kernel's 100 ticks a second; undefined when it has ended. */
function processorSeconds(pid: number | undefined): number | undefined {
  try {
    const fields =
      readFileSync(`/proc/${pid ?? 0}/stat`, "latin1")
        .split(") ")[1]
        ?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return undefined;
  }
}

/** Unpacks what a boot has left, and gives where. */
export function unpack(name: string): string {
  const directory = join("build/vm", name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  execFileSync("tar", ["-xf", LEFT, "-C", directory]);
  return directory;
}

function kernelLog(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return ""; // qemu has not come so far
  }
}
