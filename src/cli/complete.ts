/** Completion scripts for shells, and the manual page, from the tables of commands and settings. Pure. */
import { row, SETTING_KEYS, fileKey, environmentKey, fallbackText } from "../config/schema.js";
import { COMMON_FLAGS, CONFIG_FLAG, EXIT_MEANINGS, type Command } from "./command.js";
import { knownFlags } from "./parse.js";

export const SHELLS = ["bash", "zsh"] as const;
export type Shell = (typeof SHELLS)[number];

/** What completes a positional argument, by its name in the table. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  PORT: "ports",
  MAP: "maps",
  DIR: "directories",
  SHELL: SHELLS.join(" "),
};

const groups = (table: readonly Command[]): ReadonlyMap<string, readonly string[]> => {
  const found = new Map<string, string[]>();
  for (const { name } of table) {
    const [first = "", second] = name.split(" ");
    found.set(first, [...(found.get(first) ?? []), ...(second === undefined ? [] : [second])]);
  }
  return found;
};
const flagsOf = (command: Command): string => [...knownFlags(command).keys()].map((name) => `--${name}`).join(" ");

/** Ports and maps are asked of torbie itself when they are wanted; nothing is asked as long as they are not. */
const ASK = `_torbie_ask() {
  case $1 in
  ports) torbie endpoint list --json 2>/dev/null | sed -n 's/^ *"interface": "\\([^"\\\\]*\\)",*$/\\1/p' ;;
  maps) torbie map list --json 2>/dev/null | sed -n 's/^ *"\\(map\\|set\\)": "\\([^"\\\\]*\\)",*$/\\2/p' ;;
  esac
}`;

export function bashCompletion(table: readonly Command[]): string {
  const words = groups(table);
  const second = [...words].filter(([, list]) => list.length > 0);
  return `# bash completion for torbie, made by "torbie completion bash". Source it, or put it into
# /usr/share/bash-completion/completions/torbie.
${ASK}
_torbie() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command flags arguments
  COMPREPLY=()
  command=\${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${[...words.keys()].join(" ")} --help --version" -- "$word"))
    return
  fi
  case $command in
${second
  .map(
    ([first, list]) =>
      `  ${first}) if [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "${list.join(" ")}" -- "$word")); return; fi; command="$command \${COMP_WORDS[2]}" ;;`,
  )
  .join("\n")}
  esac
  case $command in
${table
  .map(
    (command) =>
      `  "${command.name}") flags="${flagsOf(command)}"; arguments="${command.arguments.map((name) => ARGUMENTS[name] ?? "").join(" ")}" ;;`,
  )
  .join("\n")}
  *) return ;;
  esac
  case $previous in
  --port) COMPREPLY=($(compgen -W "$(_torbie_ask ports)" -- "$word")); return ;;
  --*-dir|--dir|--out|--config|--*-file|--etcd-ca|--etcd-cert|--etcd-key) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  case $word in
  -*) COMPREPLY=($(compgen -W "$flags" -- "$word")); return ;;
  esac
  case $arguments in
  ports|maps) COMPREPLY=($(compgen -W "$(_torbie_ask "$arguments")" -- "$word")) ;;
  directories) COMPREPLY=($(compgen -d -- "$word")) ;;
  *) COMPREPLY=($(compgen -W "$arguments" -- "$word")) ;;
  esac
}
complete -F _torbie torbie
`;
}

/** Inside single quotes of a shell, and without what _describe and _arguments take for their own. */
const quoted = (text: string): string =>
  text.replaceAll("'", "'\\''").replaceAll(":", "\\:").replaceAll("[", "(").replaceAll("]", ")");

export function zshCompletion(table: readonly Command[]): string {
  const words = groups(table);
  const summary = (name: string): string => table.find((command) => command.name === name)?.summary ?? "";
  const firsts = [...words].map(([first, list]) => `'${first}:${quoted(summary(first) || list.join(", "))}'`);
  const second = [...words].filter(([, list]) => list.length > 0);
  return `#compdef torbie
# zsh completion for torbie, made by "torbie completion zsh". Put it as _torbie into a directory of $fpath.
${ASK}
_torbie() {
  local command
  local -a list
  if (( CURRENT == 2 )); then
    list=(
      ${firsts.join("\n      ")}
    )
    _describe command list
    return
  fi
  command=$words[2]
  case $command in
${second
  .map(([first, list]) => {
    const described = list.map((one) => `'${one}:${quoted(summary(`${first} ${one}`))}'`);
    return `  ${first}) if (( CURRENT == 3 )); then list=(${described.join(" ")}); _describe command list; return; fi; command="$command $words[3]" ;;`;
  })
  .join("\n")}
  esac
  case $command in
${table
  .map((command) => {
    const own = [...command.flags, ...(command.settings.length > 0 ? [CONFIG_FLAG] : []), ...COMMON_FLAGS];
    const flags = own.map(
      ({ name, value, doc }) =>
        `'--${name}[${quoted(doc)}]${value === undefined ? "" : `:${value}:${value === "PORT" ? "($(_torbie_ask ports))" : "_files"}`}'`,
    );
    const settings = SETTING_KEYS.filter(
      (key) => command.settings === "all" || command.settings.includes(fileKey(key)),
    ).map((key) => `'--${fileKey(key)}[${quoted(row(key).doc)}]:${quoted(row(key).kind.name)}:_files'`);
    const positional = command.arguments.map((name) => {
      const what = ARGUMENTS[name] ?? "";
      const how =
        what === "ports" || what === "maps"
          ? `($(_torbie_ask ${what}))`
          : what === "directories"
            ? "_directories"
            : `(${what})`;
      return `'*:${name}:${how}'`;
    });
    return `  '${command.name}') _arguments ${[...flags, ...settings, ...positional].join(" ")} ;;`;
  })
  .join("\n")}
  esac
}
_torbie "$@"
`;
}

/** man(7): a line that begins with a dot or a quote is a request, a backslash an escape, "-" a hyphen unless it is escaped; ASCII only. */
const roff = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^([.'])/gm, "\\&$1")
    .replaceAll("…", "...")
    .replaceAll(
      /[^\n -~]/gu,
      (character) => `\\[u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`,
    );

/** The manual page torbie(8). */
export function manual(table: readonly Command[], version: string): string {
  const tagged = (tag: string, text: string): string[] => [".TP", `.B ${roff(tag)}`, roff(text)];
  return [
    `.TH TORBIE 8 "" "torbie ${roff(version)}" "System administration"`,
    ".SH NAME",
    "torbie \\- security groups and routes for OpenStack guests, enforced with eBPF",
    ".SH SYNOPSIS",
    ".B torbie",
    ".I COMMAND",
    "[\\fIFLAGS\\fR]",
    ".SH DESCRIPTION",
    roff("torbie agent enforces on a compute host what etcd, or a directory of YAML, says of endpoints and policies."),
    roff(
      "All other commands may be used while it runs or not: those that read show what the kernel has. Every command takes --json and --help.",
    ),
    ".SH COMMANDS",
    ...table.flatMap((command) => [
      `.SS ${roff(["torbie", command.name, ...command.arguments].join(" "))}`,
      roff([command.summary, ...(command.detail ?? [])].join("\n")),
      ...command.flags.flatMap(({ name, value, doc }) =>
        tagged(`--${name}${value === undefined ? "" : ` ${value}`}`, doc),
      ),
      ...(command.settings === "all"
        ? [".PP", "It takes every setting as a flag."]
        : command.settings.length > 0
          ? [".PP", roff(`Settings that it takes as flags: ${command.settings.map((key) => `--${key}`).join(", ")}.`)]
          : []),
      ".PP",
      ".RS 4",
      ".nf",
      ...command.examples.map(roff),
      ".fi",
      ".RE",
    ]),
    ".SH SETTINGS",
    roff(
      "Each is a flag (--pin-dir DIR), a variable (TORBIE_PIN_DIR), or a key of the file (pin-dir: DIR); the first that speaks wins. torbie config show says which did.",
    ),
    ...SETTING_KEYS.flatMap((key) => {
      const { kind, doc } = row(key);
      return tagged(
        fileKey(key),
        `${doc} (${kind.name}; default: ${fallbackText(key) || "none"}; ${environmentKey(key)})`,
      );
    }),
    ".SH EXIT STATUS",
    ...EXIT_MEANINGS.flatMap(([code, meaning]) => tagged(String(code), meaning)),
    ".PP",
    roff("check, doctor and datastore diff answer with 1 where something differs or is at fault."),
    ".SH ENVIRONMENT",
    ...tagged("TORBIE_CONFIG", "Another configuration file than /etc/torbie/torbie.yaml."),
    ...tagged("NO_COLOR", "Set and not empty: no colours, also on a terminal."),
    ".SH FILES",
    ...tagged("/etc/torbie/torbie.yaml", "Settings."),
    ...tagged("/etc/torbie/policy", "Endpoints and policies, with datastore: yaml."),
    ...tagged("/sys/fs/bpf/torbie", "Maps, programs and links: they enforce while the agent is down."),
    ...tagged("/run/torbie", "Lock, status file and socket of the running agent."),
    ...tagged("/usr/share/torbie/torbie.rules.yaml", "Alerts for Prometheus."),
    ".SH SEE ALSO",
    "nft(8), tc\\-bpf(8), bpftool(8), ipset(8), etcd(1)",
    "",
  ].join("\n");
}
