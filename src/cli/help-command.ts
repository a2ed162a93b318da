/** `help`: the overview. `torbie COMMAND --help` has the rest. */
import { EXIT, EXIT_MEANINGS, type Command } from "./command.js";
import { manual } from "./complete.js";
import { overview } from "./help.js";
import { json } from "./output.js";
import { COMMANDS } from "./table.js";

export const help: Command = {
  name: "help",
  summary: "Print all commands and exit statuses.",
  arguments: [],
  flags: [{ name: "man", doc: "Print the manual page torbie(8), for man -l." }],
  settings: [],
  examples: ["torbie help", "torbie endpoint show --help", "torbie help --man | man -l -"],
  run: ({ context, flags, json: asJson }) => {
    if (flags.has("man")) {
      const page = manual(COMMANDS, context.version);
      context.out(asJson ? json({ page }) : page);
      return Promise.resolve(EXIT.ok);
    }
    const commands = COMMANDS.map(({ name, summary, arguments: words }) => ({ name, arguments: words, summary }));
    context.out(
      asJson ? json({ commands, exit: Object.fromEntries(EXIT_MEANINGS) }) : overview(COMMANDS, context.version),
    );
    return Promise.resolve(EXIT.ok);
  },
};
