/** What a real Neutron wrote into etcd (test/fixtures/recorded), as a directory of YAML. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { parseKey } from "../../src/model/keys.js";

export interface Pair {
  readonly key: string;
  /** As etcd has it. */
  readonly value: string;
}

export interface RecordedFile {
  /** "workloadendpoints.yaml" */
  readonly name: string;
  readonly pairs: readonly Pair[];
}

export function recorded(name: "full" | "dns"): Pair[] {
  return JSON.parse(
    readFileSync(new URL(`../fixtures/recorded/${name}.snapshot.json`, import.meta.url), "utf8"),
  ) as Pair[];
}

/** One thing that was done to the recorded cloud. */
export interface Step {
  readonly step: number;
  /** Ends with "-> HTTP 201" when it was a call of the API. */
  readonly title: string;
  /** "POST /v2.0/ports {…}"; empty when it was none. */
  readonly request: string;
  /** Of the API: the object, without its wrapper. */
  readonly response?: unknown;
  /** What was written into etcd after it, in order. */
  readonly etcd: readonly {
    readonly op: string;
    readonly key: string;
    readonly value?: unknown;
    readonly raw?: string;
  }[];
}

export function recordedSteps(name: string): Step[] {
  return readFileSync(new URL(`../fixtures/recorded/${name}.jsonl`, import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Step & { readonly request: string | null })
    .map((step) => ({ ...step, request: step.request ?? "" }));
}

/** The value that a change put there. Spacing as Python has it does not matter to a reader. */
export const textOf = ({ raw, value }: Step["etcd"][number]): string => raw ?? JSON.stringify(value);

/** Resources by kind, and the keys that are none: leases, elections, what agents report. Those a directory has no place for. */
export function sortOut(pairs: readonly Pair[]): {
  readonly files: readonly RecordedFile[];
  readonly others: readonly string[];
} {
  const files = new Map<string, Pair[]>();
  const others: string[] = [];
  for (const pair of pairs) {
    const { kind } = parseKey(pair.key);
    if (kind === "ignored" || kind === "not enforced" || kind === "malformed") others.push(pair.key);
    else files.set(kind, [...(files.get(kind) ?? []), pair]);
  }
  return { files: [...files].map(([kind, list]) => ({ name: `${kind.toLowerCase()}s.yaml`, pairs: list })), others };
}

/** A file's text: every resource as recorded, uid, dates and unknown fields included. A subnet has its key's name and its value as spec. */
export function yamlOf(pairs: readonly Pair[]): string {
  return pairs
    .map(({ key, value }) => {
      const object = JSON.parse(value) as Record<string, unknown>;
      const parsed = parseKey(key);
      return stringify(
        parsed.kind === "Subnet" ? { kind: "Subnet", metadata: { name: parsed.name }, spec: object } : object,
      );
    })
    .join("---\n");
}

export function writeRecorded(pairs: readonly Pair[], directory: string): void {
  for (const file of sortOut(pairs).files) writeFileSync(join(directory, file.name), yamlOf(file.pairs));
}

/** The recording with one value changed. */
export function changed(pairs: readonly Pair[], key: string, change: (object: never) => unknown): Pair[] {
  if (!pairs.some((pair) => pair.key === key)) throw new Error(`nothing recorded at ${key}`);
  return pairs.map((pair) =>
    pair.key === key ? { key, value: JSON.stringify(change(JSON.parse(pair.value) as never)) } : pair,
  );
}
