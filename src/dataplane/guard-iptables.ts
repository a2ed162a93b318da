/** The guard where nft is missing: a chain each in raw and mangle, by interface name, IP only. */
import type { Problem } from "../problems.js";
import { markBits, type GuardSettings } from "./guard-rules.js";
import type { Runner } from "./run.js";

const CHAIN = "torbie-guard";
const TOOLS = ["iptables", "ip6tables"] as const;
const JUMPS = [
  ["raw", "PREROUTING"],
  ["mangle", "POSTROUTING"],
] as const;
/** In iptables a name that ends in "+" means all that begin so: such a tap can't be named alone. */
const SAYABLE = /^[A-Za-z0-9_.-]{1,15}$/;

/** Input of iptables-restore --noflush. `claimed`: names of taps; `ruled`: rules judge them, what comes from them has no mark. */
export function renderIptablesGuard(settings: GuardSettings, claimed: Iterable<string>, ruled: boolean): string {
  const sayable = [...claimed].filter((name) => SAYABLE.test(name));
  const { judged, any } = markBits(settings.markShift);
  const pattern = (name: string): string => name.replace(/\*$/, "+");
  const returns = (way: "-i" | "-o"): string[] =>
    settings.taps.excluded.map((name) => `-A ${CHAIN} ${way} ${pattern(name)} -j RETURN`);
  const bit = `0x${judged.toString(16)}/0x${any.toString(16)}`;
  return [
    "*raw",
    `:${CHAIN} - [0:0]`,
    `-F ${CHAIN}`,
    `-A ${CHAIN} -m mark --mark ${bit} -j CT --notrack`,
    ...returns("-i"),
    ...(ruled ? sayable.map((name) => `-A ${CHAIN} -i ${name} -j RETURN`) : []),
    ...settings.taps.prefixes.map(
      (prefix) => `-A ${CHAIN} -i ${prefix}+ -m mark --mark 0x0/0x${any.toString(16)} -j DROP`,
    ),
    "COMMIT",
    "*mangle",
    `:${CHAIN} - [0:0]`,
    `-F ${CHAIN}`,
    ...returns("-o"),
    ...sayable.map((name) => `-A ${CHAIN} -o ${name} -j RETURN`),
    ...settings.taps.prefixes.map((prefix) => `-A ${CHAIN} -o ${prefix}+ -j DROP`),
    "COMMIT",
    "",
  ].join("\n");
}

/** @returns undefined when there is no iptables either, else what is wrong. @throws nothing: refusals are problems. */
export async function ensureIptablesGuard(
  run: Runner,
  settings: GuardSettings,
  claimed: ReadonlySet<string>,
  ruled: boolean,
): Promise<Problem[] | undefined> {
  const problems: Problem[] = [
    {
      where: "guard",
      code: "ARP_NOT_GUARDED",
      what: "nft is missing or the kernel lacks nf_tables: the guard stands in iptables' raw and mangle tables",
      consequence:
        "ARP passes an unknown tap, OVS ports with a tap's name must be excluded by name, and a tap whose programs someone takes off while no agent runs gets what is forwarded to it; install nftables",
    },
  ];
  let worked = 0;
  for (const tool of TOOLS) {
    const restored = await run(`${tool}-restore`, ["-w", "--noflush"], renderIptablesGuard(settings, claimed, ruled));
    if (restored.status === undefined) continue;
    let error = restored.status === 0 ? "" : restored.stderr;
    for (const [table, chain] of restored.status === 0 ? JUMPS : []) {
      const jump = ["-w", "-t", table];
      if ((await run(tool, [...jump, "-C", chain, "-j", CHAIN])).status === 0) continue;
      const inserted = await run(tool, [...jump, "-I", chain, "1", "-j", CHAIN]);
      if (inserted.status !== 0) error = inserted.stderr;
    }
    if (error === "") worked++;
    else
      problems.push({
        where: `guard ${tool}`,
        code: "GUARD_REFUSED",
        what: `${tool}: ${JSON.stringify(error.trim().slice(0, 200))}`,
        consequence: `${tool === "iptables" ? "IPv4" : "IPv6"} passes an unknown tap`,
      });
  }
  for (const name of claimed)
    if (!SAYABLE.test(name))
      problems.push({
        where: `interface ${JSON.stringify(name)}`,
        code: "NAME_NOT_SAYABLE",
        what: "iptables can't name this interface alone",
        consequence: "nothing of the host's own reaches it",
      });
  return worked === 0 ? undefined : problems;
}

export async function removeIptablesGuard(run: Runner): Promise<string[]> {
  const removed: string[] = [];
  for (const tool of TOOLS)
    for (const [table, chain] of JUMPS) {
      const at = ["-w", "-t", table];
      if ((await run(tool, [...at, "-D", chain, "-j", CHAIN])).status !== 0) continue;
      await run(tool, [...at, "-F", CHAIN]);
      await run(tool, [...at, "-X", CHAIN]);
      removed.push(`${tool} ${table} ${CHAIN}`);
    }
  return removed;
}

/** Whether both families' chains are in place. */
export async function iptablesGuardStands(run: Runner): Promise<boolean> {
  for (const tool of TOOLS)
    for (const [table, chain] of JUMPS)
      if ((await run(tool, ["-w", "-t", table, "-C", chain, "-j", CHAIN])).status !== 0) return false;
  return true;
}
