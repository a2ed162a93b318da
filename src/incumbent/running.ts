/** Whether Felix runs in this network namespace. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface Process {
  readonly pid: number;
  /** Of the command line, without paths. */
  readonly words: readonly string[];
}

/**
 * Processes of this network namespace, or of one that can't be told: an agent of another namespace has other taps.
 * @param root of procfs, for tests
 */
export function processesHere(root = "/proc"): Process[] {
  const here = namespaceOf(root, "self");
  const found: Process[] = [];
  for (const pid of readdirSync(root).filter((name) => /^\d+$/.test(name))) {
    let words: string[];
    try {
      words = readFileSync(`${root}/${pid}/cmdline`, "utf8").split("\0").slice(0, 8);
    } catch {
      continue; // it has ended
    }
    if (words.join("") === "") continue; // a thread of the kernel
    const there = namespaceOf(root, pid);
    if (here !== undefined && there !== undefined && here !== there) continue;
    found.push({ pid: Number(pid), words: words.map((word) => word.slice(word.lastIndexOf("/") + 1)) });
  }
  return found;
}

function namespaceOf(root: string, pid: string): string | undefined {
  try {
    return readlinkSync(`${root}/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/** As calico-felix, or as a part of calico/node. */
export const isFelix = ({ words }: Process): boolean =>
  words.slice(0, 3).includes("calico-felix") || (words.slice(0, 3).includes("calico-node") && words.includes("-felix"));

/** Its pid. */
export const felixRuns = (root?: string): number | undefined => processesHere(root).find(isFelix)?.pid;
