/** Removes what the BPF dataplane left in the kernel: programs off the hooks, pins. Nothing of anyone else's. */
import { existsSync, readdirSync, readFileSync, rmdirSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { detach } from "./attach.js";
import { linksDir, mapsDir, programsDir } from "./pins.js";

export interface CleanupReport {
  /** Interfaces that our programs were taken off. */
  readonly interfaces: readonly string[];
  readonly pins: number;
}

/** Interfaces of this network namespace, by name. */
function interfaces(): { name: string; ifindex: number }[] {
  return readdirSync("/sys/class/net").flatMap((name) => {
    try {
      return [{ name, ifindex: Number(readFileSync(join("/sys/class/net", name, "ifindex"), "utf8")) }];
    } catch {
      return []; // a file (bonding_masters), or an interface that has just gone
    }
  });
}

/** Detaches from every interface of this network namespace and removes the pins: from then on nothing is enforced. */
export function cleanup(pinDir: string): CleanupReport {
  const cleaned: string[] = [];
  for (const { name, ifindex } of interfaces()) {
    const found = (["ingress", "egress"] as const).filter((direction) => detach(pinDir, ifindex, direction));
    if (found.length > 0) cleaned.push(name);
  }
  return { interfaces: cleaned, pins: removePins(pinDir) };
}

/** Removes the pins of one directory, then the directories, as far as nobody else has anything in them. Returns how many there were. */
export function removePins(pinDir: string): number {
  let pins = 0;
  const unfinished = existsSync(pinDir) ? readdirSync(pinDir).filter((name) => /^making_\d+$/.test(name)) : [];
  for (const directory of [
    linksDir(pinDir),
    programsDir(pinDir),
    mapsDir(pinDir),
    ...unfinished.map((name) => join(pinDir, name)),
  ]) {
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory)) {
      unlinkSync(join(directory, name));
      pins++;
    }
    rmdirSync(directory);
  }
  for (const directory of [pinDir, dirname(pinDir)]) {
    try {
      rmdirSync(directory);
    } catch {
      break; // not empty, or not there: another version's pins, or someone else's
    }
  }
  return pins;
}
