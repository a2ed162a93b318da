/** A desired state as lines of JSON, for another process of this version; and what differs between two of them. Pure. */
import type { ClassList, DesiredState } from "./desired.js";
import { DataplaneError } from "../errors.js";

const MAPS = ["endpoints", "sets", "policies", "addresses", "prefixes"] as const;
type MapField = (typeof MAPS)[number];

/** Labels have done their work when all is compiled, and hold what is no JSON. */
const withoutLabels = (key: string, value: unknown): unknown => (key === "labels" ? undefined : value);

/** Entries a line, so that neither side handles long texts. */
const PART = 500;

/** Taken as of now, made while it is read: the state's maps may change meanwhile, what is in them does not. */
export function* desiredLines(desired: DesiredState): IterableIterator<string> {
  const now = MAPS.map((field) => [field, [...(desired[field] as ReadonlyMap<string, unknown>)]] as const);
  const alsoRemote = [...desired.alsoRemote];
  const lines = function* (): IterableIterator<string> {
    for (const [field, entries] of now)
      for (let at = 0; at < entries.length; at += PART)
        yield `${JSON.stringify({ field, entries: entries.slice(at, at + PART) }, withoutLabels)}\n`;
    yield `${JSON.stringify({ field: "alsoRemote", entries: alsoRemote })}\n`;
    yield `${JSON.stringify({ field: "end" })}\n`;
  };
  yield* lines();
}

/** @throws DataplaneError when it was cut short, or is not one of this version */
export function readDesired(lines: Iterable<string>): DesiredState {
  const maps: Record<MapField, Map<string, unknown>> = {
    endpoints: new Map(),
    sets: new Map(),
    policies: new Map(),
    addresses: new Map(),
    prefixes: new Map(),
  };
  const alsoRemote = new Set<string>();
  // Addresses with the same classes share one list, which the dataplane goes by.
  const lists = new Map<string, ClassList>();
  const shared = (list: unknown): ClassList => {
    const text = JSON.stringify(list);
    let known = lists.get(text);
    if (known === undefined) lists.set(text, (known = list as ClassList));
    return known;
  };
  let ended = false;
  for (const line of lines) {
    if (line === "") continue;
    const { field, entries = [] } = JSON.parse(line) as { field?: string; entries?: unknown[] };
    if (field === "end") ended = true;
    else if (field === "alsoRemote") for (const one of entries) alsoRemote.add(String(one));
    else if (field !== undefined && Object.hasOwn(maps, field))
      for (const [key, value] of entries as [string, unknown][])
        maps[field as MapField].set(key, field === "addresses" || field === "prefixes" ? shared(value) : value);
    else throw new DataplaneError("DESIRED_TEXT", "the agent said something that this version does not know");
  }
  if (!ended) throw new DataplaneError("DESIRED_TEXT", "the agent's answer was cut short", { retryable: true });
  return { ...maps, alsoRemote } as unknown as DesiredState;
}

export interface DesiredDifference {
  readonly kind: "endpoint" | "policy set" | "policy" | "address" | "prefix" | "address that others have too";
  readonly id: string;
  /** What the agent has not done yet. */
  readonly what: "not known to the agent" | "gone from the datastore" | "otherwise in the datastore";
}

const KINDS: Readonly<Record<MapField, DesiredDifference["kind"]>> = {
  endpoints: "endpoint",
  sets: "policy set",
  policies: "policy",
  addresses: "address",
  prefixes: "prefix",
};

/** Where something was read is no difference, nor are labels. */
const content = (value: unknown): string =>
  JSON.stringify(value, (key: string, part: unknown) =>
    key === "labels" || key === "move" || (key === "origin" && typeof part === "string") ? undefined : part,
  );

/** What the datastore says and the agent does not want, or wants otherwise. */
export function behind(agent: DesiredState, datastore: DesiredState): DesiredDifference[] {
  const found: DesiredDifference[] = [];
  const compare = (
    kind: DesiredDifference["kind"],
    has: ReadonlyMap<string, unknown>,
    says: ReadonlyMap<string, unknown>,
  ): void => {
    for (const [id, value] of says)
      if (!has.has(id)) found.push({ kind, id, what: "not known to the agent" });
      else if (content(has.get(id)) !== content(value)) found.push({ kind, id, what: "otherwise in the datastore" });
    for (const id of has.keys()) if (!says.has(id)) found.push({ kind, id, what: "gone from the datastore" });
  };
  for (const field of MAPS) compare(KINDS[field], agent[field], datastore[field]);
  const flags = (all: ReadonlySet<string>): ReadonlyMap<string, unknown> => new Map([...all].map((one) => [one, true]));
  compare("address that others have too", flags(agent.alsoRemote), flags(datastore.alsoRemote));
  return found;
}
