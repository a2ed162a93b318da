/**
 * The standing host rule (D5) as text for nft, and the reading back of it. Pure.
 *
 * From a tap of ours nothing passes without our programs' mark, unless the agent has said that rules of the firewall judge there (the
 * iptables dataplane); towards one nothing passes unless the agent has claimed it (its programs are attached, and the one at its egress
 * judges; or the rules). Where our own rules judge they drop what comes from unknown taps, and from a known one that nobody has claimed
 * yet, by themselves: then the table for IP sleeps, which is that it has no chains, whose three hooks cost each packet half of what the
 * rules do. From an uplink that has our program nothing is passed on to one without the mark that this program sets, so
 * that who takes the programs off an uplink and a tap while no agent runs opens nothing; what other interfaces bring is judged at the
 * tap's egress alone, which comes after all that a rule can see. IP in table inet, ARP in table arp: the ends of both directions, since what a program redirects never comes here. Bridged ports are not seen by these hooks, so only OVS ports
 * and bridges that have a tap's name are named here.
 */
import { createHash } from "node:crypto";
import { FOREIGN_KINDS, type TapRule } from "../links/ours.js";

export interface GuardSettings {
  /** Table name, the same in both families. */
  readonly table: string;
  readonly taps: TapRule;
  /** mark_shift of the programs (abi.h): 0..16. */
  readonly markShift: number;
}

interface GuardChain {
  readonly name: string;
  /** Absent: others go there. */
  readonly base?: { readonly hook: string; readonly priority: number };
  /** Each ends in its verdict: one word, or "goto" and a chain. */
  readonly rules: readonly string[];
}

export interface GuardTable {
  readonly family: "inet" | "arp";
  readonly sets: readonly string[];
  readonly chains: readonly GuardChain[];
}

export const CLAIMED = "claimed";
/** Those of the claimed taps that rules judge: what comes from them carries no mark. */
export const RULED = "ruled";
/** Interfaces whose ingress has our program: what they bring for a guest is marked when the stack gets it, or not to be passed on. */
export const UPLINKS = "uplinks";
export const SETS = [CLAIMED, RULED, UPLINKS] as const;

/**
 * Empty sets that say how the table for IP is: claims name the one that must be there, so that they are refused where it is not.
 * (nft's flag "dormant" would do it too, but nft 1.0.6 ends its JSON at a table's flags.)
 */
const AWAKE = "awake";
const ASLEEP = "asleep";

/** Elements of the sets: ifindexes, or names as guardNames() gives them. */
export interface Claims {
  readonly claimed: Iterable<number | string>;
  readonly ruled: Iterable<number | string>;
  readonly uplinks: Iterable<number | string>;
}
const MARK_JUDGED = 0x8000;
const MARK_HOST = 0x4000;
/** More taps than a host may have; with a size the kernel looks an element up in a fixed table, in half the time. */
const SET_SIZE = 16_384;
/** Before conntrack (-200) and whatever may change the mark. */
const RAW = -300;
/** After everyone else has said where it goes. */
const LAST = 300;

const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, "0")}`;

/** Bits of skb->mark: `judged`, and both of `judged` and `host`, which is what is judged and translated by the kernel's NAT. */
export function markBits(shift: number): { readonly judged: number; readonly any: number } {
  return { judged: (MARK_JUDGED << shift) >>> 0, any: ((MARK_JUDGED | MARK_HOST) << shift) >>> 0 };
}

/**
 * The cheapest question first: the mark, then the name, so that what is of no tap meets no more, then sets, last the kinds of interfaces.
 */
export function guardTables(settings: GuardSettings, asleep = false): GuardTable[] {
  const { judged, any } = markBits(settings.markShift);
  const kinds = `{ ${FOREIGN_KINDS.map((kind) => `"${kind}"`).join(", ")} }`;
  const skip = (way: "iif" | "oif"): string[] => [
    ...settings.taps.excluded.map((pattern) => `${way}name "${pattern}" return`),
    `meta ${way}kind ${kinds} return`,
  ];
  const taps = (way: "iif" | "oif", chain: string): string[] =>
    settings.taps.prefixes.map((prefix) => `${way}name "${prefix}*" goto ${chain}`);
  const known = `meta mark & ${hex(any)} != 0 accept`;
  const from: GuardChain = {
    name: "from_tap",
    rules: [...skip("iif"), "counter drop"],
  };
  const onward: GuardChain = {
    name: "onward",
    rules: [`meta iif != @${UPLINKS} return`, ...skip("oif"), "counter drop"],
  };
  const to: GuardChain = { name: "to_tap", rules: [...skip("oif"), "counter drop"] };
  const arp: GuardTable = {
    family: "arp",
    sets: SETS,
    chains: [
      from,
      to,
      {
        name: "input",
        base: { hook: "input", priority: RAW },
        rules: [known, `meta iif @${RULED} return`, ...taps("iif", from.name)],
      },
      {
        name: "output",
        base: { hook: "output", priority: LAST },
        rules: [`meta oif @${CLAIMED} return`, ...taps("oif", to.name)],
      },
    ],
  };
  if (asleep) return [{ family: "inet", sets: [...SETS, ASLEEP], chains: [] }, arp];
  return [
    {
      family: "inet",
      sets: [...SETS, AWAKE],
      chains: [
        from,
        onward,
        to,
        {
          name: "prerouting",
          base: { hook: "prerouting", priority: RAW },
          rules: [
            // Judged already: the host's conntrack must neither pay for it nor call it invalid. What the kernel's NAT has must be tracked.
            `meta mark & ${hex(any)} == ${hex(judged)} notrack accept`,
            known,
            `meta iif @${RULED} return`,
            ...taps("iif", from.name),
          ],
        },
        // Forwarded only: the host's own is not seen here (S9). First, before anyone changes the mark.
        {
          name: "forward",
          base: { hook: "forward", priority: RAW },
          rules: [`meta mark & ${hex(judged)} != 0 accept`, `meta oif @${RULED} return`, ...taps("oif", onward.name)],
        },
        {
          name: "postrouting",
          base: { hook: "postrouting", priority: LAST },
          rules: [`meta oif @${CLAIMED} return`, ...taps("oif", to.name)],
        },
      ],
    },
    arp,
  ];
}

/** Changes with every rule: rules carry it as their comment, and are known by it when read back. */
export function guardDigest(tables: readonly GuardTable[]): string {
  return createHash("sha256").update(JSON.stringify(tables)).digest("hex").slice(0, 12);
}

const comment = (digest: string, index: number): string => `torbie ${digest} ${index}`;

const element = (claimed: number | string): string => (typeof claimed === "number" ? String(claimed) : `"${claimed}"`);

const claimedIn = (claims: Claims, set: string): string[] =>
  SETS.filter((name) => name === set).flatMap((name) => [...claims[name]].map(element));

/** One transaction that replaces the tables whole. */
export function renderGuard(settings: GuardSettings, tables: readonly GuardTable[], claims: Claims): string {
  const digest = guardDigest(tables);
  const lines: string[] = [];
  for (const { family, sets, chains } of tables) {
    // Declared first, so that deleting it can't fail.
    lines.push(
      `table ${family} ${settings.table}`,
      `delete table ${family} ${settings.table}`,
      `table ${family} ${settings.table} {`,
    );
    for (const set of sets) {
      const elements = claimedIn(claims, set);
      lines.push(
        `  set ${set} {`,
        "    type iface_index",
        `    size ${SET_SIZE}`,
        ...(elements.length > 0 ? [`    elements = { ${elements.join(", ")} }`] : []),
        "  }",
      );
    }
    for (const chain of chains) {
      lines.push(`  chain ${chain.name} {`);
      if (chain.base !== undefined)
        lines.push(`    type filter hook ${chain.base.hook} priority ${chain.base.priority}; policy accept;`);
      chain.rules.forEach((rule, index) => lines.push(`    ${rule} comment "${comment(digest, index)}"`));
      lines.push("  }");
    }
    lines.push("}");
  }
  return `${lines.join("\n")}\n`;
}

/** One transaction that makes the claimed taps exactly these, in the tables that exist; refused where those are asleep and these are not, or the other way round. */
export function renderClaims(settings: GuardSettings, tables: readonly GuardTable[], claims: Claims): string {
  return tables
    .flatMap(({ family, sets }) =>
      sets.flatMap((name) => {
        const elements = claimedIn(claims, name).join(", ");
        const set = `${family} ${settings.table} ${name}`;
        return [`flush set ${set}`, ...(elements === "" ? [] : [`add element ${set} { ${elements} }`])];
      }),
    )
    .join("\n")
    .concat("\n");
}

export function renderRemoval(settings: GuardSettings, tables: readonly GuardTable[]): string {
  return tables
    .map(({ family }) => `table ${family} ${settings.table}\ndelete table ${family} ${settings.table}\n`)
    .join("");
}

type Json = { readonly [key: string]: unknown };
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Objects of one kind in what `nft -j list` printed; anything unexpected is left out. */
export function listed(output: string, kind: string): Json[] {
  const root: unknown = JSON.parse(output);
  const items: readonly unknown[] = isObject(root) && Array.isArray(root["nftables"]) ? root["nftables"] : [];
  return items.flatMap((item) => (isObject(item) && isObject(item[kind]) ? [item[kind]] : []));
}

/** Whether the listed table is that of IP, asleep. */
export const sleeps = (output: string): boolean => listed(output, "set").some(({ name }) => name === ASLEEP);

/** Whether a listed table is the one that renderGuard makes: its chains' hooks, and in each our rules, all, in order, with their verdicts. */
export function stands(output: string, table: GuardTable, digest: string): boolean {
  const chains = listed(output, "chain");
  const rules = listed(output, "rule");
  const sets = listed(output, "set").map((set) => set["name"]);
  if (chains.length !== table.chains.length || !table.sets.every((name) => sets.includes(name))) return false;
  return table.chains.every((chain) => {
    const found = chains.find((one) => one["name"] === chain.name);
    if (found?.["hook"] !== chain.base?.hook || found?.["prio"] !== chain.base?.priority) return false;
    if (found === undefined || (chain.base !== undefined && found["policy"] !== "accept")) return false;
    const mine = rules.filter((rule) => rule["chain"] === chain.name);
    return (
      mine.length === chain.rules.length &&
      mine.every(
        (rule, index) =>
          rule["comment"] === comment(digest, index) && (chain.rules[index] ?? "").endsWith(` ${verdict(rule) ?? "?"}`),
      )
    );
  });
}

/** As the rule's text ends in it. */
function verdict(rule: Json): string | undefined {
  const last: unknown = Array.isArray(rule["expr"]) ? rule["expr"].at(-1) : undefined;
  if (!isObject(last)) return undefined;
  const to: unknown = last["goto"];
  return isObject(to) ? `goto ${String(to["target"])}` : Object.keys(last)[0];
}

/**
 * Elements of one of a listed table's sets, by name; those without an interface any more are numbers, and are left out, as are names that
 * nft's input could not hold: such a tap must be claimed again.
 */
export function guardNames(output: string, name: (typeof SETS)[number]): string[] {
  const set = listed(output, "set").find((one) => one["name"] === name);
  const elements: readonly unknown[] = Array.isArray(set?.["elem"]) ? set["elem"] : [];
  return elements.filter(
    (element): element is string =>
      typeof element === "string" && !/^\d+$/.test(element) && /^[A-Za-z0-9_.-]{1,15}$/.test(element),
  );
}

/** Packets dropped by a listed table, by chain. */
export function dropped(output: string): Record<string, number> {
  const packets: Record<string, number> = {};
  for (const rule of listed(output, "rule")) {
    const chain = String(rule["chain"]);
    for (const part of Array.isArray(rule["expr"]) ? (rule["expr"] as unknown[]) : []) {
      if (!isObject(part) || !isObject(part["counter"]) || typeof part["counter"]["packets"] !== "number") continue;
      packets[chain] = (packets[chain] ?? 0) + part["counter"]["packets"];
    }
  }
  return packets;
}
