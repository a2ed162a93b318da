/** Checks that several commands make first. */
import { CommandError, EXIT } from "./command.js";
import type { Context } from "./context.js";

/** @throws CommandError with the exit status for "not permitted" */
export function requireRoot(context: Context, why: string): void {
  if (context.uid !== 0) throw new CommandError(EXIT.notPermitted, "NOT_ROOT", `${why}: run as root (sudo torbie …)`);
}
