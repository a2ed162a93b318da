import { constants } from "node:os";

/** Numbers that the kernel and libbpf use and that no header shares with Node. */
const OWN_NAMES: readonly (readonly [number, string])[] = [
  [524, "ENOTSUPP"],
  [4000, "LIBBPF_LIBELF"],
  [4001, "LIBBPF_FORMAT"],
  [4002, "LIBBPF_KVERSION"],
  [4003, "LIBBPF_ENDIAN"],
  [4004, "LIBBPF_INTERNAL"],
  [4005, "LIBBPF_RELOC"],
  [4006, "LIBBPF_LOAD"],
  [4007, "LIBBPF_VERIFY"],
  [4008, "LIBBPF_PROG2BIG"],
  [4009, "LIBBPF_KVER"],
  [4010, "LIBBPF_PROGTYPE"],
  [4011, "LIBBPF_WRNGPID"],
  [4012, "LIBBPF_INVSEQ"],
  [4013, "LIBBPF_NLPARSE"],
];

// EAGAIN and EOPNOTSUPP have second names (EWOULDBLOCK, ENOTSUP); the ones used here are set last.
const NAMES = new Map<number, string>([
  ...Object.entries(constants.errno).map(([name, number]) => [number, name] as const),
  [constants.errno.EAGAIN, "EAGAIN"],
  [constants.errno.EOPNOTSUPP, "EOPNOTSUPP"],
  ...OWN_NAMES,
]);

/**
 * Something that the kernel or libbpf refused. Wrong arguments are TypeError and RangeError instead, thrown before
 * anything is asked of the kernel.
 */
export class BpfError extends Error {
  /** "EPERM", "ENOENT", …; "ENOTSUPP" for 524; "LIBBPF_…" for libbpf's own; "E<number>" for what has no name. */
  readonly code: string;
  /** Positive. */
  readonly errno: number;
  /** "map update", "object load", … */
  readonly operation: string;
  /** The map, program, file or interface. */
  declare readonly subject?: string;
  /** What libbpf said: on a refused load, the verifier's log. */
  declare readonly log?: string;
  /** Batches: how many elements were done before the one that failed. */
  declare readonly done?: number;

  constructor(errno: number, operation: string, description: string, subject?: string, log?: string, done?: number) {
    const code = NAMES.get(errno) ?? `E${errno}`;
    super(`${operation}${subject === undefined ? "" : ` ${JSON.stringify(subject)}`}: ${code}, ${description}`);
    this.name = "BpfError";
    this.code = code;
    this.errno = errno;
    this.operation = operation;
    if (subject !== undefined) this.subject = subject;
    if (log !== undefined) this.log = log;
    if (done !== undefined) this.done = done;
  }
}
