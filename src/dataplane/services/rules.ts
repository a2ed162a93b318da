/**
 * The metadata service's address, and floating IPs (floating.ts), as rules of nft's NAT: what guests ask of METADATA_ADDRESS goes to where it is served, and its answers
 * come from the address that was asked, since the kernel's tracking turns them back. A guest that asks by its link-local address is known
 * to the service by its first fixed one: Nova tells guests apart by address. Pure.
 *
 * Why the kernel's NAT in both dataplanes: the packets are few and go up the stack in any case; a connection that is translated survives
 * the agent, a switch of the dataplane and a takeover; and a service on 127.0.0.1 cannot be reached otherwise.
 */
import { createHash } from "node:crypto";
import type { TapRule } from "../../links/ours.js";
import type { Address, Family } from "../../model/types.js";
import { listed } from "../guard-rules.js";
import { floatingChains, floatingMaps, type Floats, type NatMap } from "./floating.js";
import { ANY_ADDRESS, METADATA_ADDRESS, METADATA_PORT, type MetadataService } from "../../model/services.js";

export const SERVICES_TABLE = "torbie_services";
/** Before others that translate destinations (-100), so that a rule of theirs for the same address does not matter. */
const BEFORE_DNAT = -110;
const SNAT = 100;

export interface ServicesWish {
  readonly taps: TapRule;
  readonly metadata: MetadataService;
  /** Floating IP → the guest's address. */
  readonly floating: Floats;
  /** By tap: the address that its guest is known by when it asks by a link-local one. */
  readonly knownBy: ReadonlyMap<string, Address>;
}

export interface Chain {
  readonly name: string;
  readonly hook: string;
  readonly priority: number;
  readonly rules: readonly string[];
}

/** Chains of one family's table; none: there is no table. */
export function serviceChains(wish: ServicesWish, of: Family): readonly Chain[] {
  return [...metadataChains(wish, of), ...floatingChains(wish.floating, of)];
}

function metadataChains({ taps, metadata }: ServicesWish, of: Family): readonly Chain[] {
  const to = metadata.addresses[of];
  if (to === undefined) return [];
  const asked = METADATA_ADDRESS[of];
  const field = of === 4 ? "ip" : "ip6";
  const skip = taps.excluded.map((pattern) => `iifname "${pattern}" return`);
  const each = (rule: string): string[] => taps.prefixes.map((prefix) => `iifname "${prefix}*" ${rule}`);
  const dnat = each(`${field} daddr ${asked} tcp dport ${METADATA_PORT} ${dnatTo(to, metadata.port)}`);
  const prerouting = { name: "prerouting", hook: "prerouting", priority: BEFORE_DNAT, rules: [...skip, ...dnat] };
  if (of === 4) return [prerouting];
  const snat = each(`ip6 saddr fe80::/10 ct original ip6 daddr ${asked} snat to iifname map @known_by`);
  return [prerouting, { name: "input", hook: "input", priority: SNAT, rules: [...skip, ...snat] }];
}

const dnatTo = (to: Address, port: number): string =>
  to === ANY_ADDRESS ? `redirect to :${port}` : `dnat to ${to.includes(":") ? `[${to}]` : to}:${port}`;

/** Changes with every rule; rules carry it as their comment. */
const digestOf = (chains: readonly Chain[]): string =>
  createHash("sha256").update(JSON.stringify(chains)).digest("hex").slice(0, 12);
const nftFamily = (of: Family): string => (of === 4 ? "ip" : "ip6");

function serviceMaps(wish: ServicesWish, of: Family): readonly NatMap[] {
  const known = {
    name: "known_by",
    type: "ifname : ipv6_addr",
    text: [...wish.knownBy].map(([tap, address]) => `"${tap}" : ${address}`),
    listed: [...wish.knownBy].map((pair): unknown => pair),
  };
  return [...(of === 6 && wish.metadata.addresses[6] !== undefined ? [known] : []), ...floatingMaps(wish.floating, of)];
}

/** One transaction: the table of this family anew, or gone. */
export function renderServices(wish: ServicesWish, of: Family): string {
  const table = `${nftFamily(of)} ${SERVICES_TABLE}`;
  const chains = serviceChains(wish, of);
  // Declared first, so that deleting it can't fail.
  const lines = [`table ${table}`, `delete table ${table}`];
  if (chains.length === 0) return `${lines.join("\n")}\n`;
  lines.push(`table ${table} {`);
  for (const { name, type, text } of serviceMaps(wish, of)) {
    const elements = text.length === 0 ? [] : [`    elements = { ${text.join(", ")} }`];
    lines.push(`  map ${name} {`, `    type ${type}`, ...elements, "  }");
  }
  for (const { name, hook, priority, rules } of chains) {
    lines.push(`  chain ${name} {`, `    type nat hook ${hook} priority ${priority}; policy accept;`);
    for (const rule of rules) lines.push(`    ${rule} comment "torbie ${digestOf(chains)}"`);
    lines.push("  }");
  }
  return `${[...lines, "}"].join("\n")}\n`;
}

/** Whether a table as `nft -j list table` prints it is the one that renderServices makes. */
export function serviceStands(output: string, wish: ServicesWish, of: Family): boolean {
  const chains = serviceChains(wish, of);
  const comment = `torbie ${digestOf(chains)}`;
  const [found, rules] = [listed(output, "chain"), listed(output, "rule")];
  if (found.length !== chains.length || rules.length !== chains.flatMap((chain) => chain.rules).length) return false;
  if (!rules.every((rule) => rule["comment"] === comment)) return false;
  if (!chains.every((chain) => found.some((one) => one["name"] === chain.name && one["hook"] === chain.hook)))
    return false;
  return serviceMaps(wish, of).every((map) => {
    const elements = listed(output, "map").find(({ name }) => name === map.name)?.["elem"] ?? [];
    const stand = new Set((elements as unknown[]).map((pair) => JSON.stringify(pair)));
    const wanted = map.listed.map((pair) => JSON.stringify(pair));
    return stand.size === wanted.length && wanted.every((pair) => stand.has(pair));
  });
}
