/** The pinned state for reading commands; "nothing there" has an exit status of its own. */
import { existsSync } from "node:fs";
import { BpfError } from "#libbpf";
import { pinsIn } from "../agent/wire/pins.js";
import { openPinned } from "../dataplane/bpf/read.js";
import { quote } from "../text.js";
import { CommandError, EXIT } from "./command.js";
import type { KernelState } from "./context.js";
import { openInventory } from "./open-inventory.js";
import { nothingPinned } from "./endpoint.js";

/** @throws CommandError absent: nothing is pinned; notPermitted: not root */
export async function openState(pinDir: string, runDir: string): Promise<KernelState> {
  if (process.geteuid?.() !== 0)
    throw new CommandError(
      EXIT.notPermitted,
      "NOT_ROOT",
      "reading pinned maps needs root: run as root (sudo torbie …)",
    );
  const inventory = await openInventory(runDir);
  if (inventory !== undefined) return inventory;
  if (!existsSync(pinsIn(pinDir))) throw nothingPinned(pinDir);
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
