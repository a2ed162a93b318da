/**
 * The NAT of metadata service and floating IPs where nft is missing: chains at nat's hooks. A floating IP is a rule, and a connection's first
 * packet meets all of them.
 */
import { DataplaneError } from "../../errors.js";
import type { Family } from "../../model/types.js";
import { IPTABLES } from "../iptables/tools.js";
import type { Runner } from "../run.js";
import { family } from "../../model/cidr.js";
import { hairpins } from "./floating.js";
import { serviceChains, type ServicesWish } from "./rules.js";
import { ANY_ADDRESS, METADATA_ADDRESS, METADATA_PORT } from "../../model/services.js";

const CHAINS = [
  ["PREROUTING", "torbie-services"],
  ["INPUT", "torbie-known-by"],
] as const;
const FLOATING = "torbie-floating";
const HAIRPIN = "torbie-hairpin";
const FLOATING_JUMPS = [
  ["PREROUTING", FLOATING],
  ["OUTPUT", FLOATING],
  ["POSTROUTING", HAIRPIN],
] as const;
const JUMPS = [...FLOATING_JUMPS, ...CHAINS];

/** Input of iptables-restore --noflush. */
export function renderIptablesServices({ taps, metadata, knownBy, floating }: ServicesWish, of: Family): string {
  const to = metadata.addresses[of];
  const asked = METADATA_ADDRESS[of];
  const [[, dnat], [, snat]] = CHAINS;
  const excluded = (chain: string): string[] =>
    taps.excluded.map((pattern) => `-A ${chain} -i ${pattern.replace(/\*$/, "+")} -j RETURN`);
  const target =
    to === ANY_ADDRESS
      ? `REDIRECT --to-ports ${metadata.port}`
      : `DNAT --to-destination ${of === 4 ? to : `[${to}]`}:${metadata.port}`;
  const rules =
    to === undefined
      ? []
      : taps.prefixes.map(
          (prefix) => `-A ${dnat} -i ${prefix}+ -d ${asked} -p tcp --dport ${METADATA_PORT} -j ${target}`,
        );
  const known =
    to === undefined || of === 4
      ? []
      : [...knownBy].map(
          ([tap, address]) =>
            `-A ${snat} -i ${tap} -s fe80::/10 -p tcp -m conntrack --ctorigdst ${asked} -j SNAT --to-source ${address}`,
        );
  return [
    "*nat",
    ...CHAINS.flatMap(([, chain]) => [`:${chain} - [0:0]`, ...excluded(chain)]),
    ...rules,
    ...known,
    ...[FLOATING, HAIRPIN].map((chain) => `:${chain} - [0:0]`),
    ...[...floating]
      .filter(([external]) => family(external) === of)
      .map(([external, internal]) => `-A ${FLOATING} -d ${external} -j DNAT --to-destination ${internal}`),
    ...[...hairpins(floating)]
      .filter(([internal]) => family(internal) === of)
      .map(
        ([internal, external]) =>
          `-A ${HAIRPIN} -s ${internal} -d ${internal} -m conntrack --ctstate DNAT -j SNAT --to-source ${external}`,
      ),
    "COMMIT",
    "",
  ].join("\n");
}

/** @throws DataplaneError */
export async function ensureIptablesServices(wish: ServicesWish, run: Runner): Promise<number> {
  let writes = 0;
  for (const of of [4, 6] as const) {
    const tool = IPTABLES[of];
    if (serviceChains(wish, of).length === 0) {
      await remove(tool, run);
      continue;
    }
    const restored = await run(`${tool}-restore`, ["-w", "--noflush"], renderIptablesServices(wish, of));
    if (restored.status !== 0)
      throw new DataplaneError(
        "SERVICES_REFUSED",
        `cannot write the metadata service's NAT: ${tool}-restore said ${JSON.stringify(restored.stderr.trim().slice(0, 400))}`,
        { retryable: true },
      );
    for (const [hook, chain] of JUMPS) {
      const jump = ["-w", "-t", "nat"];
      if ((await run(tool, [...jump, "-C", hook, "-j", chain])).status === 0) continue;
      await run(tool, [...jump, "-I", hook, "1", "-j", chain]);
      writes++;
    }
  }
  return writes;
}

export async function removeIptablesServices(run: Runner): Promise<string[]> {
  return [...(await remove("iptables", run)), ...(await remove("ip6tables", run))];
}

async function remove(tool: string, run: Runner): Promise<string[]> {
  const removed: string[] = [];
  const at = ["-w", "-t", "nat"];
  const chains = new Set<string>();
  for (const [hook, chain] of JUMPS)
    if ((await run(tool, [...at, "-D", hook, "-j", chain])).status === 0) chains.add(chain);
  for (const chain of chains) {
    await run(tool, [...at, "-F", chain]);
    await run(tool, [...at, "-X", chain]);
    removed.push(`${tool} nat ${chain}`);
  }
  return removed;
}
