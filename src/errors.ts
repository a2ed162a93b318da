/** Base of every error that Torbie throws on purpose: a stable code, and the cause kept. */
export class TorbieError extends Error {
  readonly code: string;
  /** Whether the same call may succeed later without anyone changing anything. */
  readonly retryable: boolean;

  constructor(code: string, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** A setting, flag or environment variable that cannot be used. */
export class ConfigError extends TorbieError {}

/** The machine lacks something: root, BPF, a kernel feature, a program. */
export class UnsupportedError extends TorbieError {}

/** The kernel refused, or its state is not what it should be. */
export class DataplaneError extends TorbieError {}
