/** Puts the metadata service's NAT in place, reads it back and mends it. Its text: rules.ts, and services-iptables.ts where nft is missing. */
import type { DesiredState } from "../../compile/desired.js";
import { DataplaneError, UnsupportedError } from "../../errors.js";
import { family, isSingle, prefixToAddress } from "../../model/cidr.js";
import type { Address, Family } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import { isSayable } from "../iptables/names.js";
import { run as runProgram, type Runner } from "../run.js";
import { renderServices, SERVICES_TABLE, serviceStands, type ServicesWish } from "./rules.js";
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

/** How many tables had to be written. @throws UnsupportedError, DataplaneError */
export async function ensureServices(wish: ServicesWish, run: Runner = runProgram): Promise<number> {
  let writes = 0;
  for (const of of FAMILIES) {
    const listing = await run("nft", ["-j", "list", "table", nftFamily(of), SERVICES_TABLE]);
    if (listing.status === undefined) return ensureIptablesServices(wish, run);
    const wanted = wish.metadata.addresses[of] !== undefined;
    const stands = listing.status === 0 ? serviceStands(listing.stdout, wish, of) : !wanted;
    if (stands && wanted === (listing.status === 0)) continue;
    const result = await run("nft", ["-f", "-"], renderServices(wish, of));
    if (result.status === 0) writes++;
    else if (/not supported|no such file|protocol/i.test(result.stderr)) return ensureIptablesServices(wish, run);
    else throw refusal(result.stderr);
  }
  return writes;
}

/** Families whose table is otherwise than it should be; empty where nft is missing, since iptables' chains are written anew each time. */
export async function servicesLacking(wish: ServicesWish, run: Runner = runProgram): Promise<readonly Family[]> {
  const lacking: Family[] = [];
  for (const of of FAMILIES) {
    const listing = await run("nft", ["-j", "list", "table", nftFamily(of), SERVICES_TABLE]);
    if (listing.status === undefined) return [];
    const wanted = wish.metadata.addresses[of] !== undefined;
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
