/** The pinned state for reading commands; "nothing there" has an exit status of its own. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { BpfError } from "#libbpf";
import { pinsIn } from "../agent/wire/pins.js";
import { findPredecessors } from "../dataplane/bpf/predecessor.js";
import { openPinned, type PinnedState } from "../dataplane/bpf/read.js";
import { quote } from "../text.js";
import { CommandError, EXIT } from "./command.js";
import type { KernelState } from "./context.js";
import { openInventory } from "./open-inventory.js";
import { nothingPinned } from "./endpoint.js";

/** @throws CommandError absent: nothing is pinned; notPermitted: not root */
export async function openState(pinDir: string, runDir: string): Promise<KernelState> {
  requireRights();
  return (await openInventory(runDir)) ?? pinned(pinDir);
}

/** @throws CommandError as openState, and unsupported where iptables enforces: it has no maps */
export async function openMaps(pinDir: string, runDir: string): Promise<PinnedState> {
  requireRights();
  if ((await openInventory(runDir)) === undefined) return pinned(pinDir);
  throw new CommandError(
    EXIT.unsupported,
    "NO_MAPS",
    "this host enforces with iptables, which has no maps: torbie endpoint and policy read it back; iptables-save, ipset list and conntrack -L show the rest",
  );
}

function requireRights(): void {
  if (process.geteuid?.() === 0) return;
  throw new CommandError(EXIT.notPermitted, "NOT_ROOT", "reading pinned maps needs root: run as root (sudo torbie …)");
}

function pinned(pinDir: string): PinnedState {
  if (!existsSync(pinsIn(pinDir))) {
    const [other] = findPredecessors(pinsIn(pinDir));
    if (other !== undefined)
      throw new CommandError(
        EXIT.absent,
        "OTHER_LAYOUT",
        `what is pinned at ${quote(other)} is of a build with another layout (this one reads ${basename(pinsIn(pinDir))}), whose programs go on enforcing: that build's torbie reads it; an agent of this build takes over from it when it starts`,
      );
    throw nothingPinned(pinDir);
  }
  try {
    return openPinned(pinsIn(pinDir));
  } catch (error) {
    const { cause } = error as { cause?: unknown };
    if (cause instanceof BpfError && (cause.code === "EPERM" || cause.code === "EACCES"))
      throw new CommandError(
        EXIT.notPermitted,
        "NOT_PERMITTED",
        `the maps in ${quote(pinDir)} cannot be read: ${cause.message}`,
        error,
      );
    throw error;
  }
}
