/** Composition root: what the commands may touch, made real. Started by bin/torbie. */
import { runCli } from "./cli/main.js";
import { realContext } from "./cli/effects.js";

process.exitCode = await runCli(process.argv.slice(2), realContext());
