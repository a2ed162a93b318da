/** `agent`: run the daemon in the foreground. `demo`, `version`, `help`. */
import { EXIT, type Command } from "./command.js";
import { json } from "./output.js";
import { requireRoot } from "./require.js";

export const agent: Command = {
  name: "agent",
  summary: "Run the agent in the foreground until SIGTERM or SIGINT.",
  detail: [
    "Stopping leaves what is enforced in force; starting again adopts it and writes only what differs.",
    "SIGHUP is ignored: the policy directory is followed live, settings are read at start.",
  ],
  arguments: [],
  flags: [],
  settings: "all",
  examples: [
    "torbie agent",
    "torbie agent --policy-dir ./examples --log-format text",
    "torbie agent --interface-prefix tap,vnet --uplinks bond0",
  ],
  run: ({ context, config }) => {
    const loaded = config();
    requireRoot(context, "the agent attaches programs and sets routes");
    return context.runAgent(loaded);
  },
};

export const demo: Command = {
  name: "demo",
  summary: "Four guests behind real taps, and who reaches whom, measured with real packets.",
  detail: ["Everything it makes is in network namespaces of its own and goes when it ends."],
  arguments: [],
  flags: [
    { name: "once", doc: "Print the table and exit." },
    { name: "policy-dir", value: "DIR", doc: "Another directory than the checkout's examples." },
  ],
  settings: [],
  examples: ["torbie demo", "torbie demo --once"],
  run: ({ context }) => context.runDemo([]),
};

export const version: Command = {
  name: "version",
  summary: "Print the version.",
  arguments: [],
  flags: [],
  settings: [],
  examples: ["torbie version"],
  run: ({ context, json: asJson }) => {
    context.out(
      asJson
        ? json({ version: context.version, node: process.version })
        : `torbie ${context.version} (Node ${process.version})\n`,
    );
    return Promise.resolve(EXIT.ok);
  },
};
