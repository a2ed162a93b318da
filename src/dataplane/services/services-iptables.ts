/** The metadata service's NAT where nft is missing: a chain each at nat's PREROUTING and, for IPv6, INPUT. */
import { DataplaneError } from "../../errors.js";
import type { Family } from "../../model/types.js";
import { IPTABLES } from "../iptables/tools.js";
import type { Runner } from "../run.js";
import type { ServicesWish } from "./rules.js";
import { ANY_ADDRESS, METADATA_ADDRESS, METADATA_PORT } from "../../model/services.js";

const CHAINS = [
  ["PREROUTING", "torbie-services"],
  ["INPUT", "torbie-known-by"],
] as const;

/** Input of iptables-restore --noflush. */
export function renderIptablesServices({ taps, metadata, knownBy }: ServicesWish, of: Family): string {
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
    "COMMIT",
    "",
  ].join("\n");
}

/** @throws DataplaneError */
export async function ensureIptablesServices(wish: ServicesWish, run: Runner): Promise<number> {
  let writes = 0;
  for (const of of [4, 6] as const) {
    const tool = IPTABLES[of];
    if (wish.metadata.addresses[of] === undefined) {
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
    for (const [hook, chain] of CHAINS) {
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
  for (const [hook, chain] of CHAINS) {
    const at = ["-w", "-t", "nat"];
    if ((await run(tool, [...at, "-D", hook, "-j", chain])).status !== 0) continue;
    await run(tool, [...at, "-F", chain]);
    await run(tool, [...at, "-X", chain]);
    removed.push(`${tool} nat ${chain}`);
  }
  return removed;
}
