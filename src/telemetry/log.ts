/** Structured log lines (pino): one JSON object a line, or text for people. Lines are written before the call returns. */
import { Writable } from "node:stream";
import { destination, pino, stdSerializers, type Logger } from "pino";
import { escape } from "../text.js";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

/** Synchronous, so that the last line before a crash is there. @param descriptor 2: standard error */
export function createLog(level: LogLevel, format: "json" | "text", descriptor = 2): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: stdSerializers.err },
  };
  const out = destination({ dest: descriptor, sync: true });
  if (format === "json") return pino(options, out);
  const text = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out.write(textLine(chunk.toString()));
      done();
    },
  });
  return pino(options, text);
}

interface Line {
  readonly level: string;
  readonly time: string;
  readonly msg?: string;
  readonly err?: { readonly stack?: string };
  readonly [field: string]: unknown;
}

/** A JSON line as one line for people; values from outside are escaped. A stack follows on lines of its own. */
export function textLine(json: string): string {
  const { level, time, msg, err, ...rest } = JSON.parse(json) as Line;
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === "string" ? escape(value) : JSON.stringify(value)}`,
  );
  const stack = err?.stack === undefined ? "" : `\n  ${err.stack.split("\n").map(escape).join("\n  ")}`;
  return `${time.slice(11, 23)} ${level.padEnd(5)} ${escape(msg ?? "")}${fields.length ? `  ${fields.join(" ")}` : ""}${stack}\n`;
}
