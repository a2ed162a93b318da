/** `help`: the overview. `torbie COMMAND --help` has the rest. */
import { EXIT, EXIT_MEANINGS, type Command } from "./command.js";
import { overview } from "./help.js";
import { json } from "./output.js";
import { COMMANDS } from "./table.js";

export const help: Command = {
  name: "help",
  summary: "Print all commands and exit statuses.",
  arguments: [],
  flags: [],
  settings: [],
  examples: ["torbie help", "torbie endpoint show --help"],
  run: ({ context, json: asJson }) => {
    const commands = COMMANDS.map(({ name, summary, arguments: words }) => ({ name, arguments: words, summary }));
    context.out(
      asJson ? json({ commands, exit: Object.fromEntries(EXIT_MEANINGS) }) : overview(COMMANDS, context.version),
    );
    return Promise.resolve(EXIT.ok);
  },
};
