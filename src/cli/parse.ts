/** Command line -> command, flags, arguments; by the table alone. Pure. */
import { flag as booleanKind } from "../config/kinds.js";
import { fileKey, row, SETTING_KEYS } from "../config/schema.js";
import { suggest } from "../config/suggest.js";
import { quote } from "../text.js";
import { COMMON_FLAGS, CONFIG_FLAG, UsageError, type Command, type FlagRow } from "./command.js";

export interface ParsedLine {
  readonly command: Command;
  readonly positionals: readonly string[];
  /** The command's own and the common ones. */
  readonly flags: ReadonlyMap<string, string>;
  /** Settings by file key. */
  readonly settings: ReadonlyMap<string, string>;
  readonly help: boolean;
  readonly json: boolean;
}

interface Known {
  readonly takesValue: boolean;
  readonly setting: boolean;
}

/** Flags that `command` knows, by name. */
export function knownFlags(command: Command): ReadonlyMap<string, Known> {
  const known = new Map<string, Known>();
  const settings = SETTING_KEYS.filter((key) => command.settings === "all" || command.settings.includes(fileKey(key)));
  for (const key of settings)
    known.set(fileKey(key), { takesValue: (row(key).kind as unknown) !== booleanKind, setting: true });
  const own: readonly FlagRow[] = [
    ...command.flags,
    ...COMMON_FLAGS,
    ...(command.settings.length > 0 ? [CONFIG_FLAG] : []),
  ];
  for (const { name, value } of own) known.set(name, { takesValue: value !== undefined, setting: false });
  return known;
}

const hint = (names: readonly string[]): string => (names.length === 0 ? "" : `; did you mean ${names.join(" or ")}?`);

/** The command that the first one or two words name, and what is left. @throws UsageError with a suggestion */
export function findCommand(
  words: readonly string[],
  table: readonly Command[],
): { readonly command: Command; readonly rest: readonly string[] } {
  const [first, second] = words;
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(" ");
    const command = words.length >= count ? table.find((candidate) => candidate.name === name) : undefined;
    if (command) return { command, rest: words.slice(count) };
  }
  const group = table.filter((command) => command.name.startsWith(`${first ?? ""} `)).map((command) => command.name);
  if (group.length > 0) {
    const meant = second === undefined || second.startsWith("-") ? [] : suggest(`${first ?? ""} ${second}`, group);
    const said =
      second === undefined || second.startsWith("-")
        ? `"${first ?? ""}" needs a word more`
        : `unknown command ${quote(`${first ?? ""} ${second}`, 60)}`;
    throw new UsageError(`${said}: ${group.join(", ")}${hint(meant)}`);
  }
  const names = new Set(table.flatMap((command) => [command.name, command.name.split(" ")[0] ?? ""]));
  throw new UsageError(
    `unknown command ${quote(first ?? "", 60)}${hint(suggest(first ?? "", names))} ("torbie help" lists them)`,
  );
}

/** @throws UsageError naming the flag or argument and what was meant */
export function parseLine(words: readonly string[], table: readonly Command[]): ParsedLine {
  const { command, rest } = findCommand(words, table);
  const known = knownFlags(command);
  const flags = new Map<string, string>();
  const settings = new Map<string, string>();
  const positionals: string[] = [];
  const queue = [...rest];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === "--") {
      positionals.push(...queue.splice(0));
    } else if (word === "-h") {
      flags.set("help", "");
    } else if (!word.startsWith("-") || word === "-") {
      positionals.push(word);
    } else {
      const long = command.flags.find(({ short }) => short !== undefined && word === `-${short}`)?.name;
      takeFlag(long === undefined ? word : `--${long}`, queue, known, flags, settings, command);
    }
  }
  const help = flags.has("help");
  if (!help && positionals.length !== command.arguments.length) {
    const missing = command.arguments[positionals.length];
    const extra = positionals[command.arguments.length];
    throw new UsageError(
      missing !== undefined
        ? `torbie ${command.name}: ${missing} is missing (torbie ${command.name} --help)`
        : `torbie ${command.name}: unexpected argument ${quote(extra ?? "", 80)} (torbie ${command.name} --help)`,
    );
  }
  return { command, positionals, flags, settings, help, json: flags.has("json") };
}

function takeFlag(
  word: string,
  queue: string[],
  known: ReadonlyMap<string, Known>,
  flags: Map<string, string>,
  settings: Map<string, string>,
  command: Command,
): void {
  const equals = word.indexOf("=");
  const said = (equals < 0 ? word : word.slice(0, equals)).replace(/^--?/, "");
  const negated =
    said.startsWith("no-") &&
    !known.has(said) &&
    known.get(said.slice(3))?.setting === true &&
    known.get(said.slice(3))?.takesValue === false;
  const name = negated ? said.slice(3) : said;
  const found = word.startsWith("--") ? known.get(name) : undefined;
  if (found === undefined) {
    const meant = suggest(said, known.keys()).map((candidate) => `--${candidate}`);
    throw new UsageError(
      `torbie ${command.name}: unknown flag ${quote(equals < 0 ? word : word.slice(0, equals), 60)}${hint(meant)} (torbie ${command.name} --help)`,
    );
  }
  let value = equals < 0 ? undefined : word.slice(equals + 1);
  if (found.takesValue && value === undefined) {
    value = queue.shift();
    if (value === undefined) throw new UsageError(`torbie ${command.name}: --${name} needs a value`);
  }
  if (value !== undefined && (negated || (!found.takesValue && !found.setting)))
    throw new UsageError(`torbie ${command.name}: --${said} takes no value`);
  if (flags.has(name) || settings.has(name)) throw new UsageError(`torbie ${command.name}: --${name} is given twice`);
  if (found.setting) settings.set(name, value ?? (negated ? "false" : "true"));
  else flags.set(name, value ?? "");
}
