/** What was wrong with something that came from outside, said for the operator. */
export interface Problem {
  /** Where: an etcd key, "file:line:column", a flag, an interface. Problems with the same `where` and `code` replace each other. */
  readonly where: string;
  /** Stable, upper case, for scripts: "BAD_CIDR", "UNKNOWN_PROTOCOL", … */
  readonly code: string;
  /** What is wrong, with the offending value quoted (control characters escaped, at most 200 characters). */
  readonly what: string;
  /** What Torbie does about it, e.g. "the last good version stays in force", "this rule allows nothing". */
  readonly consequence: string;
}
