/** What a command is: one row of the table in src/cli/table.ts. */
import { TorbieError } from "../errors.js";
import type { LoadedConfig } from "../config/load.js";
import type { Context } from "./context.js";

/** Documented in `torbie help`; scripts rely on them. */
export const EXIT = {
  ok: 0,
  /** It was tried and did not work. */
  failed: 1,
  /** Wrong command, flag, argument or setting. */
  usage: 2,
  /** What was asked for is not there: no pinned state, no agent running, no such port. */
  absent: 3,
  /** Root is needed. */
  notPermitted: 4,
  /** The machine lacks something: BPF, a kernel feature, a program. */
  unsupported: 5,
  /** Refused because it would be unsafe, and the message says what would make it safe. */
  refused: 6,
  /** explain: the kernel and the datastore say different things. */
  disagrees: 7,
} as const;

export const EXIT_MEANINGS: readonly (readonly [number, string])[] = [
  [EXIT.ok, "done"],
  [EXIT.failed, "tried and failed"],
  [EXIT.usage, "wrong command, flag, argument or setting"],
  [EXIT.absent, "not there: no pinned state, no agent running, no such port"],
  [EXIT.notPermitted, "root is needed"],
  [EXIT.unsupported, "the machine lacks something: BPF, a kernel feature, a program"],
  [EXIT.refused, "refused because it would be unsafe"],
  [EXIT.disagrees, "what is in the kernel is not what the datastore says"],
];

export class UsageError extends TorbieError {
  constructor(message: string) {
    super("USAGE", message);
  }
}
/** Ends a command with a message and an exit status of its own. */
export class CommandError extends TorbieError {
  readonly exit: number;
  constructor(exit: number, code: string, message: string, cause?: unknown) {
    super(code, message, { cause });
    this.exit = exit;
  }
}

export interface FlagRow {
  /** Without the dashes. */
  readonly name: string;
  /** A letter or digit: "6" for -6. */
  readonly short?: string;
  /** Name of its value in help; absent: a switch. */
  readonly value?: string;
  readonly doc: string;
}

export interface Invocation {
  readonly context: Context;
  /** As many as `arguments` has. */
  readonly positionals: readonly string[];
  /** Of the command's own flags; switches have "". */
  readonly flags: ReadonlyMap<string, string>;
  readonly json: boolean;
  /** Reads file, environment and flags. @throws ConfigError */
  config(): LoadedConfig;
}

export interface Command {
  /** One or two words: "status", "endpoint show". Nouns read, verbs change. */
  readonly name: string;
  readonly summary: string;
  readonly detail?: readonly string[];
  /** Positional arguments, all required: ["PORT"]. */
  readonly arguments: readonly string[];
  readonly flags: readonly FlagRow[];
  /** Which settings it takes as flags: all, or by file key; --config comes with either. */
  readonly settings: "all" | readonly string[];
  readonly examples: readonly string[];
  /** --json prints an object a line. */
  readonly jsonLines?: true;
  readonly run: (invocation: Invocation) => Promise<number>;
}

/** "--json" and "--help" belong to every command. */
export const COMMON_FLAGS: readonly FlagRow[] = [
  { name: "json", doc: "Print JSON; the shape is stable." },
  { name: "help", doc: "Print this help." },
];
export const CONFIG_FLAG: FlagRow = {
  name: "config",
  value: "FILE",
  doc: "Configuration file (default /etc/torbie/torbie.yaml, or TORBIE_CONFIG).",
};
