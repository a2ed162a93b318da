/** Whether KVM works here: a device that can be opened is not enough, where a virtual machine has it and can't. */
import { spawn } from "node:child_process";
import { accessSync, constants, readdirSync } from "node:fs";
import { join } from "node:path";

/** Seconds in which a kernel has said its first word by KVM, also on a busy machine. */
const LIMIT = 30;
const KERNELS = "build/vm/kernels";

export async function usableKvm(): Promise<boolean> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  const kernel = readdirSync(KERNELS)[0];
  if (kernel === undefined) return false;
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...[
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "512",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
      ],
      ...["-kernel", join(KERNELS, kernel, "vmlinuz"), "-append", "console=ttyS0 earlyprintk=serial panic=-1"],
    ],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  let text = "";
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT * 1_000);
    const over = (works: boolean): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      resolve(works);
    };
    child.once("error", () => over(false));
    // It finds no root and panics: it has run.
    child.once("close", () => over(/Linux version [\s\S]*Kernel panic/.test(text)));
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  });
}
