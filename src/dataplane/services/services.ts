/** Puts the metadata service's NAT in place, reads it back and mends it. Its text: rules.ts, and services-iptables.ts where nft is missing. */
import type { DesiredState } from "../../compile/desired.js";
import { DataplaneError, UnsupportedError } from "../../errors.js";
import { family, isSingle, prefixToAddress } from "../../model/cidr.js";
import type { Address, Family } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import { isSayable } from "../iptables/names.js";
import { run as runProgram, type Runner } from "../run.js";
import { changedFloats, floatsOf, type Floats } from "./floating.js";
import { renderServices, serviceChains, SERVICES_TABLE, serviceStands, type ServicesWish } from "./rules.js";
import { ensureIptablesServices, removeIptablesServices } from "./services-iptables.js";
import { ANY_ADDRESS, isLoopback4 } from "../../model/services.js";

const FAMILIES: readonly Family[] = [4, 6];
const nftFamily = (of: Family): string => (of === 4 ? "ip" : "ip6");

/** By tap: the first fixed IPv6 address of its endpoint, of what passes anything. */
export function knownByTap(desired: Pick<DesiredState, "endpoints">): ReadonlyMap<string, Address> {
  const known = new Map<string, Address>();
  for (const { interfaceName, adminUp, blocked, owned } of desired.endpoints.values()) {
    const fixed = owned.find(({ prefix, kind }) => kind === "fixed" && family(prefix) === 6 && isSingle(prefix));
    if (fixed !== undefined && adminUp && blocked === undefined && isSayable(interfaceName))
      known.set(interfaceName, prefixToAddress(fixed.prefix));
  }
  return known;
}

export interface ServicesReport {
  /** Tables that had to be written. */
  readonly writes: number;
  /** Floating IPs that led elsewhere until now: what is tracked still leads there. */
  readonly changed: ReadonlySet<Address>;
}

const listings = (run: Runner): Promise<{ of: Family; listing: Awaited<ReturnType<Runner>> }[]> =>
  Promise.all(
    FAMILIES.map(async (of) => ({
      of,
      listing: await run("nft", ["-j", "list", "table", nftFamily(of), SERVICES_TABLE]),
    })),
  );

/** @throws UnsupportedError, DataplaneError */
export async function ensureServices(wish: ServicesWish, run: Runner = runProgram): Promise<ServicesReport> {
  let writes = 0;
  const changed = new Set<Address>();
  const byIptables = async (): Promise<ServicesReport> => ({
    writes: await ensureIptablesServices(wish, run),
    // What stood is not read: whatever is tracked otherwise than it should be is found.
    changed: new Set(wish.floating.keys()),
  });
  for (const { of, listing } of await listings(run)) {
    if (listing.status === undefined) return byIptables();
    const wanted = serviceChains(wish, of).length > 0;
    const stands = listing.status === 0 ? serviceStands(listing.stdout, wish, of) : !wanted;
    if (stands && wanted === (listing.status === 0)) continue;
    const result = await run("nft", ["-f", "-"], renderServices(wish, of));
    if (result.status === 0) {
      writes++;
      const before = listing.status === 0 ? floatsOf(listing.stdout) : new Map<never, never>();
      for (const external of changedFloats(before, wish.floating)) if (family(external) === of) changed.add(external);
    } else if (/not supported|no such file|protocol/i.test(result.stderr)) return byIptables();
    else throw refusal(result.stderr);
  }
  return { writes, changed };
}

/** Families whose table is otherwise than it should be; empty where nft is missing, since iptables' chains are written anew each time. */
export async function servicesLacking(wish: ServicesWish, run: Runner = runProgram): Promise<readonly Family[]> {
  const lacking: Family[] = [];
  for (const { of, listing } of await listings(run)) {
    if (listing.status === undefined) return [];
    const wanted = serviceChains(wish, of).length > 0;
    if (wanted !== (listing.status === 0) || (wanted && !serviceStands(listing.stdout, wish, of))) lacking.push(of);
  }
  return lacking;
}

/** Removes all that was made here. Says what it was. */
export async function removeServices(run: Runner = runProgram): Promise<string[]> {
  const removed: string[] = [];
  for (const of of FAMILIES)
    if ((await run("nft", ["delete", "table", nftFamily(of), SERVICES_TABLE])).status === 0)
      removed.push(`nft table ${nftFamily(of)} ${SERVICES_TABLE}`);
  return [...removed, ...(await removeIptablesServices(run))];
}

/** What leads where, but for addresses that are the host's own: those keep meaning the host. */
export function floatsIn(desired: Pick<DesiredState, "endpoints">, hosts: ReadonlySet<string>): Floats {
  return new Map(
    [...desired.endpoints.values()].flatMap(({ floating = [], adminUp, blocked, move }) =>
      adminUp && blocked === undefined && move !== "held"
        ? floating.filter(({ external }) => !hosts.has(external)).map((one) => [one.external, one.internal] as const)
        : [],
    ),
  );
}

export function floatingProblems(desired: Pick<DesiredState, "endpoints">, hosts: ReadonlySet<string>): Problem[] {
  return [...desired.endpoints.values()].flatMap(({ workload, floating = [] }) =>
    floating
      .filter(({ external }) => hosts.has(external))
      .map(({ external }) => ({
        where: `${workload.key} ${external}`,
        code: "FLOATING_IP_OF_HOST",
        what: `floating IP ${external}: it is an address of this host`,
        consequence: "this floating IP is not in force",
      })),
  );
}

/** A service on another host would have to be reached by the rules of each guest, and its answers would be judged. */
export function metadataProblems({ metadata }: ServicesWish, hosts: ReadonlySet<string>): Problem[] {
  return FAMILIES.flatMap((of) => {
    const address = metadata.addresses[of];
    if (address === undefined || isLoopback4(address) || address === ANY_ADDRESS || hosts.has(address)) return [];
    return [
      {
        where: of === 4 ? "metadata-address" : "metadata-address-ipv6",
        code: "METADATA_NOT_HERE",
        what: `${address} is not an address of this host`,
        consequence:
          "guests get no metadata by it: run the service on every compute host, as with Felix, or let a proxy listen here",
      },
    ];
  });
}

function refusal(stderr: string): DataplaneError | UnsupportedError {
  const said = JSON.stringify(stderr.trim().slice(0, 400));
  if (/not permitted|must be root|permission denied/i.test(stderr))
    return new UnsupportedError(
      "NO_PERMISSION",
      `cannot write the metadata service's NAT: root or CAP_NET_ADMIN is needed; nft said ${said}`,
    );
  return new DataplaneError("SERVICES_REFUSED", `cannot write the metadata service's NAT: nft said ${said}`, {
    retryable: true,
  });
}
