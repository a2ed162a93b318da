/** `cleanup`: remove all that Torbie owns, and nothing else. */
import { escape } from "../text.js";
import { CommandError, EXIT, type Command } from "./command.js";
import { columns, json } from "./output.js";
import { requireRoot } from "./require.js";

export const cleanup: Command = {
  name: "cleanup",
  summary: "Remove programs, maps, routes, neighbours and the guard: guests are no longer protected.",
  detail: [
    "Refuses while the agent runs, and while guests' interfaces are up unless --open is given: without programs and guard, whatever the",
    "host forwards passes. Removes only what is pinned in pin-dir, carries our route protocol, or is our table in the firewall.",
  ],
  arguments: [],
  flags: [{ name: "open", doc: "Also while guests' interfaces are up: they are open afterwards." }],
  settings: [
    "pin-dir",
    "run-dir",
    "interface-prefix",
    "interface-exclude",
    "uplinks",
    "route-protocol",
    "mark-shift",
    "attach",
  ],
  examples: ["torbie cleanup", "torbie cleanup --open"],
  run: async ({ context, flags, json: asJson, config }) => {
    requireRoot(context, "cleanup removes programs, routes and firewall rules");
    const settings = config().config;
    if (context.agentRuns(settings.runDir)) {
      const pid = context.lockHolder(settings.runDir);
      throw new CommandError(
        EXIT.refused,
        "AGENT_RUNNING",
        `the agent is running${pid === undefined ? "" : ` (pid ${pid})`} and would put everything back: stop it first`,
      );
    }
    const up = await context.openTaps(settings);
    if (up.length > 0 && !flags.has("open")) {
      const named = `${up.slice(0, 5).map(escape).join(", ")}${up.length > 5 ? ", …" : ""}`;
      throw new CommandError(
        EXIT.refused,
        "TAPS_UP",
        `${up.length === 1 ? "a guest's interface is" : `${up.length} guests' interfaces are`} up (${named}) and would be open afterwards: stop the guests first, or say --open`,
      );
    }
    const removed = (await context.cleanup(settings)).filter(({ count }) => count > 0);
    if (asJson) context.out(json({ removed }));
    else if (removed.length === 0) context.out("There was nothing to remove.\n");
    else
      context.out(
        columns(
          ["REMOVED", "WHAT"],
          removed.map(({ what, count }) => [String(count), what]),
        ),
      );
    return EXIT.ok;
  },
};
