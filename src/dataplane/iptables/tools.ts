/** The programs of the host that write and read our rules, and what they say when they refuse. */
import { readFile } from "node:fs/promises";
import { DataplaneError, UnsupportedError } from "../../errors.js";
import type { Family } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { RunResult, Runner } from "../run.js";
import type { Step } from "./plan.js";

export const IPTABLES: Readonly<Record<Family, string>> = { 4: "iptables", 6: "ip6tables" };

export interface Tools {
  /** "1.8.9 (nf_tables)". */
  readonly version: string;
  readonly mode: "nft" | "legacy";
}

/** Oldest iptables-restore that waits for the lock (-w), from 2016. */
const OLDEST = [1, 6, 2] as const;
/** Seconds to wait for the xtables lock; whoever holds it longer is waited for again by the next pass. */
const LOCK_SECONDS = "5";

/** @throws UnsupportedError NO_IPTABLES, OLD_IPTABLES, NO_IPSET, NO_NFT, NO_PERMISSION: what to install or load */
export async function findTools(run: Runner): Promise<Tools> {
  const said = await run("iptables", ["-V"]);
  if (said.status === undefined)
    throw new UnsupportedError(
      "NO_IPTABLES",
      "there is no iptables: install it (Debian: apt-get install iptables ipset)",
    );
  const [, major = "0", minor = "0", patch = "0", mode] =
    /v(\d+)\.(\d+)\.(\d+)(?:.*\((nf_tables|legacy)\))?/.exec(said.stdout) ?? [];
  const version = [Number(major), Number(minor), Number(patch)];
  if (isOlder(version, OLDEST))
    throw new UnsupportedError(
      "OLD_IPTABLES",
      `iptables ${version.join(".")} is too old: ${OLDEST.join(".")} or newer is needed, whose iptables-restore waits for the lock`,
    );
  for (const family of [4, 6] as const) {
    const probe = await run(`${IPTABLES[family]}-save`, ["-t", "raw"]);
    if (probe.status === undefined)
      throw new UnsupportedError("NO_IPTABLES", `there is no ${IPTABLES[family]}-save: install iptables whole`);
    if (probe.status !== 0) throw refused(`read the ${IPTABLES[family]} rules`, probe);
  }
  const sets = await run("ipset", ["list", "-n"]);
  if (sets.status === undefined)
    throw new UnsupportedError("NO_IPSET", "there is no ipset: install it (Debian: apt-get install ipset)");
  if (sets.status !== 0) throw refused("list sets (is the kernel module ip_set there?)", sets);
  await needNft(run);
  return {
    version: `${version.join(".")} (${mode ?? "legacy"})`,
    mode: mode === "nf_tables" ? "nft" : "legacy",
  };
}

function isOlder(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return (a[i] ?? 0) < (b[i] ?? 0);
  return false;
}

const PROBE = `table netdev torbie_probe {
  chain probe {
    meta protocol arp @nh,112,32 set @nh,192,32 arp operation set reply fwd to "lo"
    meta protocol ip6 icmpv6 type nd-neighbor-solicit ip6 saddr set @th,64,128 fwd to "lo"
    fib daddr type local accept
  }
}
delete table netdev torbie_probe
`;

/** MACs, ARP and neighbour discovery are judged and answered by nft alone: without it a guest could claim others' addresses. */
async function needNft(run: Runner): Promise<void> {
  const { status, stderr } = await run("nft", ["-f", "-"], PROBE);
  if (status === 0) return;
  if (status === undefined)
    throw new UnsupportedError("NO_NFT", "there is no nft: install it (Debian: apt-get install nftables)");
  throw new UnsupportedError(
    "NO_NFT",
    `nft can't rewrite and forward at an interface's ingress (${JSON.stringify(stderr.trim().split("\n")[0] ?? "")}): nftables 0.9.1 and the kernel modules nf_tables, nft_fwd_netdev and nft_fib_netdev are needed`,
  );
}

/** Rules in the back end that we do not use; the packets meet both. */
export async function otherBackEnd(run: Runner, { mode }: Tools): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const family of [4, 6] as const) {
    const other = mode === "nft" ? "legacy" : "nft";
    const tables = family === 4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names";
    // Listing the legacy tables would make them.
    if (other === "legacy" && (await readFile(tables, "utf8").catch(() => "")).trim() === "") continue;
    const saved = await run(`${IPTABLES[family]}-${other}-save`, []);
    const rules = saved.status === 0 ? saved.stdout.split("\n").filter((line) => line.startsWith("-A ")).length : 0;
    const policies = /^:(?:FORWARD|INPUT|OUTPUT) DROP/m.test(saved.stdout);
    if (rules === 0 && !policies) continue;
    problems.push({
      where: `${IPTABLES[family]}-${other}`,
      code: "BOTH_BACK_ENDS",
      what: `it holds ${rules} rules${policies ? " and a policy of DROP" : ""}, while ours are in ${IPTABLES[family]}-${mode}`,
      consequence: "a packet must pass both; what Torbie admits may be dropped there",
    });
  }
  return problems;
}

type Command = readonly [string, ...(readonly string[])];

const RESTORE_SETS: Command = ["ipset", "restore"];
const restoreRules = (family: Family): Command => [`${IPTABLES[family]}-restore`, "--noflush", "-w", LOCK_SECONDS];
const commandOf = (step: Step): Command =>
  step.tool === "ipset" ? RESTORE_SETS : step.tool === "nft" ? ["nft", "-f", "-"] : restoreRules(step.family);

/** What a change of a rule or a member runs. These look at nothing, and take no lock, before they read what to do. */
export const RESTORES: readonly Command[] = [restoreRules(4), restoreRules(6), RESTORE_SETS];

/** @throws DataplaneError with the line that was refused; retryable */
export async function runStep(run: Runner, step: Step): Promise<void> {
  const [program, ...args] = commandOf(step);
  const result = await run(program, args, step.text);
  if (result.status === 0) return;
  if (result.status === undefined)
    throw new DataplaneError("NO_PROGRAM", `${program} is gone: what stands stays; install it again`, {
      retryable: true,
    });
  throw refused(`write ${whatOf(step)}`, result, lineOf(result.stderr, step.text));
}

const whatOf = (step: Step): string =>
  step.tool === "iptables"
    ? `${IPTABLES[step.family]} ${step.table}`
    : step.tool === "nft"
      ? "the taps' nft chains"
      : "sets";

/** "line 12", "Error in line 12", "-:12:3-9: Error", "/dev/stdin:12:…". */
function lineOf(stderr: string, text: string): string {
  const number = Number(/(?:line:? |[-:n])(\d+)(?::\d| failed|:|$)/m.exec(stderr)?.[1] ?? NaN);
  const line = text.split("\n")[number - 1];
  return line === undefined ? "" : `; line ${number} is ${JSON.stringify(line.slice(0, 300))}`;
}

export function refused(what: string, { stderr, status }: RunResult, line = ""): DataplaneError | UnsupportedError {
  const said = JSON.stringify(stderr.trim().slice(0, 400));
  // The second is what the set match says, which asks over a raw socket.
  if (/not permitted|must be root|permission denied|can't open socket to ipset/i.test(stderr))
    return new UnsupportedError(
      "NO_PERMISSION",
      `cannot ${what}: root, or CAP_NET_ADMIN and CAP_NET_RAW, is needed; it said ${said}`,
    );
  if (/xtables lock|holding the xtables/i.test(stderr) || status === 4)
    return new DataplaneError(
      "LOCKED",
      `cannot ${what}: another program holds the xtables lock for more than ${LOCK_SECONDS} s${line}`,
      {
        retryable: true,
      },
    );
  if (/is full|cannot add more elements|maximum number/i.test(stderr))
    return new DataplaneError("SET_FULL", `cannot ${what}: a set is full: ${said}${line}`, { retryable: true });
  return new DataplaneError("IPTABLES_REFUSED", `cannot ${what}: ${said}${line}`, { retryable: true });
}
