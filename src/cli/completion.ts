/** `completion SHELL`: a script that completes commands, flags, ports and maps. */
import { bashCompletion, SHELLS, zshCompletion, type Shell } from "./complete.js";
import { EXIT, UsageError, type Command } from "./command.js";
import { json } from "./output.js";
import { suggest } from "../config/suggest.js";
import { quote } from "../text.js";
import { COMMANDS } from "./table.js";

export const completion: Command = {
  name: "completion",
  summary: "Print a script that completes torbie's commands and flags in bash or zsh.",
  detail: [
    "The package installs both. Ports and maps are asked of the kernel when they are completed, which needs root.",
  ],
  arguments: ["SHELL"],
  flags: [],
  settings: [],
  examples: [
    "torbie completion bash > /etc/bash_completion.d/torbie",
    "torbie completion zsh > /usr/local/share/zsh/site-functions/_torbie",
  ],
  run: ({ context, positionals, json: asJson }) => {
    const shell = positionals[0] ?? "";
    if (!SHELLS.includes(shell as Shell)) {
      const meant = suggest(shell, SHELLS);
      throw new UsageError(
        `torbie completion: no script for ${quote(shell, 40)}: ${SHELLS.join(" or ")}${meant.length > 0 ? `; did you mean ${meant.join(" or ")}?` : ""}`,
      );
    }
    const script = shell === "bash" ? bashCompletion(COMMANDS) : zshCompletion(COMMANDS);
    context.out(asJson ? json({ shell, script }) : script);
    return Promise.resolve(EXIT.ok);
  },
};
