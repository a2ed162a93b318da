/** `guard show|install|remove`: the standing rule that drops what passes a tap without our program's mark. */
import { CommandError, EXIT, type Command, type Invocation } from "./command.js";
import { json } from "./output.js";
import { requireRoot } from "./require.js";

const SETTINGS = ["interface-prefix", "interface-exclude", "mark-shift", "pin-dir", "run-dir", "guard"] as const;

export const guardShow: Command = {
  name: "guard show",
  summary: "Say whether the standing rule is in place.",
  arguments: [],
  flags: [],
  settings: SETTINGS,
  examples: ["torbie guard show"],
  run: async ({ context, json: asJson, config }) => {
    requireRoot(context, "reading the host's firewall needs root");
    const { state, detail } = await context.guard(config().config).show();
    context.out(
      asJson
        ? json({ guard: state, detail })
        : [`guard: ${state}`, ...detail.map((line) => `  ${line}`), ""].join("\n"),
    );
    return state === "on" ? EXIT.ok : EXIT.absent;
  },
};

async function change({ context, json: asJson, config }: Invocation, what: "install" | "remove"): Promise<number> {
  requireRoot(context, "the guard is a rule of the host's firewall");
  const { config: settings } = config();
  if (what === "remove" && context.agentRuns(settings.runDir))
    throw new CommandError(
      EXIT.refused,
      "AGENT_RUNNING",
      "the agent is running and would put the guard back: stop it first, or set guard: false",
    );
  const wrote = await context.guard(settings)[what]();
  const state = what === "install" ? "on" : "off";
  context.out(asJson ? json({ guard: state, changed: wrote }) : `guard: ${state}${wrote ? "" : " (it already was)"}\n`);
  return EXIT.ok;
}

export const guardInstall: Command = {
  name: "guard install",
  summary: "Put the standing rule in place; for the unit that runs before guests start.",
  arguments: [],
  flags: [],
  settings: SETTINGS,
  examples: ["torbie guard install", "torbie guard install --interface-prefix tap,vnet"],
  run: (invocation) => change(invocation, "install"),
};

export const guardRemove: Command = {
  name: "guard remove",
  summary: "Take the standing rule away: new taps are open until the agent has seen them.",
  arguments: [],
  flags: [],
  settings: SETTINGS,
  examples: ["torbie guard remove"],
  run: (invocation) => change(invocation, "remove"),
};
