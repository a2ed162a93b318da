/** Runs one command line: parse by the table, run the row, turn errors into a message and an exit status. */
import { ConfigError, TorbieError, UnsupportedError } from "../errors.js";
import { loadConfig, type LoadedConfig } from "../config/load.js";
import { printable, quote } from "../text.js";
import { CommandError, EXIT, UsageError } from "./command.js";
import type { Context } from "./context.js";
import { commandHelp, groupHelp, overview } from "./help.js";
import { json } from "./output.js";
import { parseLine, type ParsedLine } from "./parse.js";
import { COMMANDS } from "./table.js";

export const DEFAULT_CONFIG_FILE = "/etc/torbie/torbie.yaml";

/** @param words what follows "torbie" @returns the exit status; nothing is thrown */
export async function runCli(words: readonly string[], context: Context): Promise<number> {
  const [first] = words;
  if (first === undefined) {
    context.err(overview(COMMANDS, context.version));
    return EXIT.usage;
  }
  try {
    if (first === "--help" || first === "-h" || (first === "help" && words.length === 1)) {
      context.out(overview(COMMANDS, context.version));
      return EXIT.ok;
    }
    if (first === "--version" || first === "-V") return await runCli(["version", ...words.slice(1)], context);
    if (first === "demo" && !words.includes("--help") && !words.includes("-h"))
      return await context.runDemo(words.slice(1));
    const group = COMMANDS.filter(({ name }) => name.startsWith(`${first} `));
    if (group.length > 0 && (words[1] === "--help" || words[1] === "-h") && words.length === 2) {
      context.out(groupHelp(group, first));
      return EXIT.ok;
    }
    const line = parseLine(words, COMMANDS);
    if (line.help) {
      context.out(commandHelp(line.command));
      return EXIT.ok;
    }
    return await line.command.run({
      context,
      positionals: line.positionals,
      flags: line.flags,
      json: line.json,
      config: () => readConfig(line, context),
    });
  } catch (error) {
    return complain(error, words.includes("--json"), context);
  }
}

function readConfig(line: ParsedLine, context: Context): LoadedConfig {
  const said = line.flags.get("config") ?? context.environment["TORBIE_CONFIG"];
  const path = said ?? DEFAULT_CONFIG_FILE;
  let text: string | undefined;
  try {
    text = context.readText(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM")
      throw new CommandError(EXIT.notPermitted, "NOT_PERMITTED", `cannot read ${quote(path)}: run as root`, error);
    throw new ConfigError("BAD_CONFIG_FILE", `cannot read ${quote(path)}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (text === undefined && said !== undefined)
    throw new ConfigError(
      "NO_CONFIG_FILE",
      `${quote(path)} does not exist (named by ${line.flags.has("config") ? "--config" : "TORBIE_CONFIG"})`,
    );
  return loadConfig({
    flags: line.settings,
    environment: context.environment,
    ...(text === undefined ? {} : { file: { path, text } }),
  });
}

/** Exit status by kind of error. */
export function exitOf(error: unknown): number {
  if (error instanceof CommandError) return error.exit;
  if (error instanceof UsageError || error instanceof ConfigError) return EXIT.usage;
  const code = String((error as { code?: unknown } | null)?.code);
  if (code === "NOT_ROOT" || code === "EPERM" || code === "EACCES") return EXIT.notPermitted;
  if (error instanceof UnsupportedError) return EXIT.unsupported;
  return EXIT.failed;
}

function complain(error: unknown, asJson: boolean, context: Context): number {
  const exit = exitOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const code = (error as { code?: unknown } | null)?.code;
  if (asJson) context.err(json({ error: { code: typeof code === "string" ? code : "FAILED", message, exit } }));
  else context.err(`torbie: ${message.split("\n").map(printable).join("\n  ")}\n`);
  // What was not thrown on purpose is a fault of ours: show where.
  if (!(error instanceof TorbieError) && typeof code !== "string" && error instanceof Error)
    context.err(`${error.stack ?? ""}\n`);
  return exit;
}
