/** docs/configuration.md, from the table of settings. Pure. (--help: src/cli/help.ts.) */
import { environmentKey, fallbackText, fileKey, row, SETTING_KEYS } from "./schema.js";

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** docs/configuration.md as `torbie config docs` prints it; a test compares the two. */
export function configurationMarkdown(): string {
  const rows = SETTING_KEYS.map((key) => {
    const { kind, doc, example } = row(key);
    return `| \`${fileKey(key)}\` | \`${environmentKey(key)}\` | ${cell(kind.name)} | \`${cell(fallbackText(key)) || "(empty)"}\` | ${cell(doc)} | \`${cell(example)}\` |`;
  });
  return [
    "# Configuration",
    "",
    "Made by `torbie config docs` from `src/config/schema.ts`; do not edit.",
    "",
    "Every setting can be given in three ways; the first that speaks wins:",
    "",
    "1. a flag: `torbie agent --pin-dir /sys/fs/bpf/torbie` (`--no-guard` for `--guard=false`),",
    "2. an environment variable: `TORBIE_PIN_DIR=/sys/fs/bpf/torbie`,",
    "3. the file `/etc/torbie/torbie.yaml`, or the one that `--config` or `TORBIE_CONFIG` names: `pin-dir: /sys/fs/bpf/torbie`.",
    "",
    "An unknown name is an error and never ignored. `torbie config show` prints every value and where it came from.",
    "Lists are separated by commas, or are lists in the file; durations are seconds, or end in `s`, `m`, `h` or `d`.",
    "",
    "| Setting and flag | Environment | Type | Default | What it does | Example |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
