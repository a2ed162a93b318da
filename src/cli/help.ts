/** Help, from the tables of commands and settings. Pure. */
import { fileKey, fallbackText, row, SETTING_KEYS } from "../config/schema.js";
import { COMMON_FLAGS, CONFIG_FLAG, EXIT_MEANINGS, type Command, type FlagRow } from "./command.js";

const WIDTH = 30;

function line(name: string, doc: string): string {
  return name.length < WIDTH ? `  ${name.padEnd(WIDTH)}${doc}` : `  ${name}\n  ${" ".repeat(WIDTH)}${doc}`;
}
const flagLine = ({ name, short, value, doc }: FlagRow): string =>
  line(`${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`, doc);

export function overview(table: readonly Command[], version: string): string {
  return [
    `Torbie ${version}: security groups and routes for OpenStack guests, enforced with eBPF.`,
    "",
    "Usage: torbie COMMAND [FLAGS]",
    "",
    "Commands:",
    ...table.map((command) => line([command.name, ...command.arguments].join(" "), command.summary)),
    "",
    "torbie COMMAND --help says more. Reading commands read what is pinned in the kernel: they work while the agent is down.",
    "",
    "Exit status:",
    ...EXIT_MEANINGS.map(([code, meaning]) => line(String(code), meaning)),
    "",
  ].join("\n");
}

/** Of commands that begin with the same word. */
export function groupHelp(group: readonly Command[], word: string): string {
  return [
    `Usage: torbie ${word} COMMAND [FLAGS]`,
    "",
    ...group.map((command) => line([command.name, ...command.arguments].join(" "), command.summary)),
    "",
    `torbie ${word} COMMAND --help says more.`,
    "",
  ].join("\n");
}

export function commandHelp(command: Command): string {
  const keys = SETTING_KEYS.filter((key) => command.settings === "all" || command.settings.includes(fileKey(key)));
  const settings = keys.map((key) => {
    const { kind, doc } = row(key);
    return line(`--${fileKey(key)}`, `${doc} (${kind.name}; default: ${fallbackText(key) || "none"})`);
  });
  return [
    `Usage: torbie ${[command.name, ...command.arguments, "[FLAGS]"].join(" ")}`,
    "",
    command.summary,
    ...(command.detail ?? []),
    "",
    "Flags:",
    ...[...command.flags, ...(command.settings.length > 0 ? [CONFIG_FLAG] : []), ...COMMON_FLAGS].map(flagLine),
    ...(settings.length > 0 ? ["", "Settings (also in the file and as TORBIE_…):", ...settings] : []),
    "",
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}
