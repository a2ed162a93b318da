/** The standing host rule (D5): installed before guests start, outlives the agent, read back and mended whenever asked. Its text: guard-rules.ts. */
import { ConfigError, DataplaneError, UnsupportedError } from "../errors.js";
import { checkTapRule, DEFAULT_TAP_RULE, type TapRule } from "../links/ours.js";
import type { Problem } from "../problems.js";
import { droppingChains, ensureForward, ensureInput, removeForward } from "./forward-accept.js";
import { ensureIptablesGuard, iptablesGuardStands, removeIptablesGuard } from "./guard-iptables.js";
import {
  dropped,
  CLAIMED,
  guardDigest,
  guardNames,
  guardTables,
  renderClaims,
  renderGuard,
  renderRemoval,
  RULED,
  type SETS,
  sleeps,
  stands,
  UPLINKS,
  type Claims,
  type GuardSettings,
  type GuardTable,
} from "./guard-rules.js";
import { run as runProgram, type Runner } from "./run.js";

export interface GuardOptions {
  readonly taps?: TapRule;
  /** mark_shift of the programs, 0..16. */
  readonly markShift?: number;
  /** Name of the two nft tables. */
  readonly table?: string;
  /** Taps that are judged, by ifindex; absent: those that are claimed now stay so. */
  readonly claimed?: ReadonlyMap<number, string>;
  /** With `claimed`: uplinks whose ingress has our program, by ifindex. */
  readonly uplinks?: ReadonlyMap<number, string>;
  /** What judges the claimed taps: programs (default), whose mark packets must carry, or rules of the firewall, which leave none. */
  readonly judgedBy?: JudgedBy;
  /**
   * Our own rules judge all that is claimed, and drop what comes from any other tap: the guard's hooks for IP are to sleep (true), to wake
   * (false), or stay as they are (absent, where claims do too; else they wake).
   */
  readonly asleep?: boolean;
  /** Also accept judged packets at the top of FORWARD (default true). */
  readonly forward?: boolean;
  /** For tests. */
  readonly run?: Runner;
}

export type JudgedBy = "programs" | "rules";

export interface GuardReport {
  readonly means: "nft" | "iptables";
  /** What was written; empty: it stood already. */
  readonly changed: readonly string[];
  readonly problems: readonly Problem[];
}

export interface GuardStatus {
  readonly standing: boolean;
  readonly means: "nft" | "iptables" | "none";
  /** Names of claimed taps. */
  readonly claimed: readonly string[];
  /** Of them, those that rules judge. */
  readonly ruled: readonly string[];
  /** Names of uplinks that have our program. */
  readonly uplinks: readonly string[];
  /** Its hooks for IP do nothing, as our own rules do it. */
  readonly asleep: boolean;
  /** Packets dropped, by "family chain". */
  readonly dropped: Readonly<Record<string, number>>;
  readonly problems: readonly Problem[];
}

export const GUARD_TABLE = "torbie_guard";

/** Puts the guard in place or mends it. @throws ConfigError, UnsupportedError (no nft and no iptables, no permission), DataplaneError */
export async function ensureGuard(options: GuardOptions = {}): Promise<GuardReport> {
  const { run, settings } = prepare(options);
  const forward = options.forward === false ? { changed: [], problems: [] } : await ensureAccepted(run, settings);
  const nft = await ensureNft(run, settings, options);
  if (nft !== undefined) {
    const chains = await run("nft", ["-j", "list", "chains"]);
    const drops = chains.status === 0 ? droppingChains(chains.stdout, settings.markShift) : [];
    return {
      means: "nft",
      changed: [...nft.changed, ...forward.changed],
      problems: [...nft.problems, ...forward.problems, ...drops],
    };
  }
  const problems = await ensureIptablesGuard(
    run,
    settings,
    new Set(options.claimed?.values() ?? []),
    options.judgedBy === "rules",
  );
  if (problems === undefined)
    throw new UnsupportedError(
      "NO_FIREWALL",
      "the guard can't stand: neither nft nor iptables works here; install nftables (Debian: apt-get install nftables) and load nf_tables",
    );
  return { means: "iptables", changed: ["iptables", ...forward.changed], problems: [...problems, ...forward.problems] };
}

/** What the programs admit passes the host's own firewall, forwarded or for the host itself. */
export async function ensureAccepted(
  run: Runner,
  { markShift, taps }: Pick<GuardSettings, "markShift" | "taps">,
): Promise<{ readonly changed: readonly string[]; readonly problems: readonly Problem[] }> {
  const forward = await ensureForward(run, markShift);
  const input = await ensureInput(run, markShift, taps.prefixes);
  return {
    changed: [...new Set([...forward.changed, ...input.changed])],
    problems: [...forward.problems, ...input.problems],
  };
}

/** Tells the guard which taps are under our programs (or rules: options.judgedBy), all of them. To be called before a tap's first packet is wanted. @throws DataplaneError when the guard is not there */
export async function setClaimed(claimed: ReadonlyMap<number, string>, options: GuardOptions = {}): Promise<void> {
  const { run, settings } = prepare(options);
  const wish = { ...options, claimed };
  const tables = guardTables(settings, mayRest(wish));
  const both = await run("nft", ["-f", "-"], renderClaims(settings, tables, claimsOf(wish)));
  if (both.status === 0) return;
  // It is to sleep or to wake, someone flushed it, the kernel has no ARP tables, or nft is missing: ensureGuard() knows what to do.
  await ensureGuard({ ...options, claimed });
}

/** Removes all that the guard made. Says what it was. */
export async function removeGuard(options: GuardOptions = {}): Promise<string[]> {
  const { run, settings, tables } = prepare(options);
  const removed: string[] = [];
  for (const table of tables) {
    const listing = await run("nft", ["-j", "list", "table", table.family, settings.table]);
    if (listing.status !== 0) continue;
    const result = await run("nft", ["-f", "-"], renderRemoval(settings, [table]));
    if (result.status !== 0) throw refusal("remove the guard", result.stderr);
    removed.push(`nft table ${table.family} ${settings.table}`);
  }
  if (removed.length === 0) removed.push(...(await removeIptablesGuard(run)));
  if (options.forward !== false) removed.push(...(await removeForward(run)).map((where) => `${where} rule`));
  return removed;
}

export async function guardStatus(options: GuardOptions = {}): Promise<GuardStatus> {
  const { run, settings, tables } = prepare(options);
  const listings = await listTables(run, tables, settings);
  const there = listings.filter(({ listing }) => listing.status === 0);
  if (there.length === 0) {
    const standing = await iptablesGuardStands(run);
    return {
      standing,
      means: standing ? "iptables" : "none",
      claimed: [],
      ruled: [],
      uplinks: [],
      asleep: false,
      dropped: {},
      problems: [],
    };
  }
  const asleep = there.some(({ listing }) => sleeps(listing.stdout));
  const wanted = guardTables(settings, asleep);
  const counters = there.flatMap(({ table, listing }) =>
    Object.entries(dropped(listing.stdout)).map(([chain, packets]) => [`${table.family} ${chain}`, packets] as const),
  );
  const chains = await run("nft", ["-j", "list", "chains"]);
  return {
    standing:
      there.length === wanted.length &&
      there.every(({ listing }, i) => wanted[i] !== undefined && tablesStand(wanted, wanted[i], listing.stdout)),
    means: "nft",
    claimed: guardNames(there[0]?.listing.stdout ?? "{}", CLAIMED),
    ruled: guardNames(there[0]?.listing.stdout ?? "{}", RULED),
    uplinks: guardNames(there[0]?.listing.stdout ?? "{}", UPLINKS),
    asleep,
    dropped: Object.fromEntries(counters),
    problems: chains.status === 0 ? droppingChains(chains.stdout, settings.markShift) : [],
  };
}

type ClaimOptions = Pick<GuardOptions, "claimed" | "judgedBy" | "uplinks" | "asleep">;

/** With nothing claimed no rules can stand in for it. */
const mayRest = ({ claimed, judgedBy, asleep }: ClaimOptions): boolean =>
  judgedBy === "rules" && asleep === true && (claimed?.size ?? 0) > 0;

function claimsOf({ claimed, judgedBy, uplinks }: ClaimOptions): Claims {
  const all = [...(claimed?.keys() ?? [])];
  return judgedBy === "rules"
    ? { claimed: all, ruled: all, uplinks: [] }
    : { claimed: all, ruled: [], uplinks: [...(uplinks?.keys() ?? [])] };
}

const tablesStand = (all: readonly GuardTable[], one: GuardTable, output: string): boolean =>
  stands(output, one, guardDigest(all));

function prepare(options: GuardOptions): { run: Runner; settings: GuardSettings; tables: GuardTable[] } {
  const markShift = options.markShift ?? 0;
  if (!Number.isInteger(markShift) || markShift < 0 || markShift > 16)
    throw new ConfigError(
      "BAD_MARK_SHIFT",
      `mark shift ${markShift}: 0 to 16 are possible, since the mark takes 16 of 32 bits`,
    );
  const table = options.table ?? GUARD_TABLE;
  if (!/^[a-z][a-z0-9_]{0,31}$/.test(table))
    throw new ConfigError(
      "BAD_TABLE_NAME",
      `table name ${JSON.stringify(table.slice(0, 200))}: lower-case letters, digits and "_" only`,
    );
  const settings = { table, taps: checkTapRule(options.taps ?? DEFAULT_TAP_RULE), markShift };
  return { run: options.run ?? runProgram, settings, tables: guardTables(settings) };
}

const listTables = (
  run: Runner,
  tables: readonly GuardTable[],
  { table: name }: GuardSettings,
): Promise<{ table: GuardTable; listing: Awaited<ReturnType<Runner>> }[]> =>
  Promise.all(
    tables.map(async (table) => ({ table, listing: await run("nft", ["-j", "list", "table", table.family, name]) })),
  );

/** undefined: nft is missing or the kernel has no nf_tables. */
async function ensureNft(
  run: Runner,
  settings: GuardSettings,
  options: ClaimOptions,
): Promise<{ changed: string[]; problems: Problem[] } | undefined> {
  const listings = new Map<string, string>();
  for (const { table, listing } of await listTables(run, guardTables(settings), settings)) {
    if (listing.status === undefined) return undefined;
    if (listing.status === 0) listings.set(table.family, listing.stdout);
  }
  const { claimed } = options;
  const now = (set: (typeof SETS)[number]): Set<string> =>
    new Set([...listings.values()].flatMap((listing) => guardNames(listing, set)));
  const asleep =
    claimed === undefined ? [...listings.values()].some(sleeps) && options.asleep !== false : mayRest(options);
  const all = guardTables(settings, asleep);
  const claims =
    claimed === undefined ? { claimed: now(CLAIMED), ruled: now(RULED), uplinks: now(UPLINKS) } : claimsOf(options);
  const standing = all.every((table) => tablesStand(all, table, listings.get(table.family) ?? "{}"));
  if (standing && claimed === undefined) return { changed: [], problems: [] };
  const write = (tables: readonly GuardTable[]): ReturnType<Runner> =>
    run("nft", ["-f", "-"], standing ? renderClaims(settings, tables, claims) : renderGuard(settings, tables, claims));
  const whole = await write(all);
  const changed = (tables: readonly GuardTable[]): string[] =>
    standing ? [] : tables.map((table) => `nft table ${table.family} ${settings.table}`);
  if (whole.status === 0) return { changed: changed(all), problems: [] };
  if (!/not supported|no such file|protocol/i.test(whole.stderr)) throw refusal("write the guard", whole.stderr);
  const ip = all.filter((table) => table.family === "inet");
  if ((await write(ip)).status !== 0) return undefined;
  return {
    changed: changed(ip),
    problems: [
      {
        where: "guard",
        code: "ARP_NOT_GUARDED",
        what: `the kernel has no nft tables for ARP: ${JSON.stringify(whole.stderr.trim().slice(0, 200))}`,
        consequence: "ARP passes an unknown tap; load nf_tables_arp",
      },
    ],
  };
}

function refusal(what: string, stderr: string): DataplaneError | UnsupportedError {
  const said = JSON.stringify(stderr.trim().slice(0, 400));
  if (/not permitted|must be root|permission denied/i.test(stderr))
    return new UnsupportedError("NO_PERMISSION", `cannot ${what}: root or CAP_NET_ADMIN is needed; nft said ${said}`);
  return new DataplaneError("GUARD_REFUSED", `cannot ${what}: nft said ${said}`, { retryable: true });
}
