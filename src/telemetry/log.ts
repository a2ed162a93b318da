/** Structured log lines (pino): one JSON object a line, or text for people. Lines are written before the call returns. */
import { pino, stdSerializers, type Logger } from "pino";
import { escape } from "../text.js";
import { LogSink } from "./log-sink.js";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

/** Synchronous, so that the last line before a crash is there. @param descriptor 2: standard error */
export function createLog(level: LogLevel, format: "json" | "text", descriptor = 2): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${now()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: stdSerializers.err },
  };
  const sink = new LogSink(descriptor);
  const line = format === "json" ? (json: string): string => json : textLine;
  const notice = (lost: number, why: string): string => line(lostLine(lost, why));
  return pino(options, { write: (json: string) => sink.write(line(json), notice) });
}

const now = (): string => new Date().toISOString();
const lostLine = (lost: number, why: string): string =>
  `${JSON.stringify({ level: "warn", time: now(), lost, why, msg: "lines of this log could not be written" })}\n`;

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
