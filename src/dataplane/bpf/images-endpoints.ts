/** Endpoints and what they own → entries of `endpoint`, `source`, `local` and `local_prefix`. Pure. */
import { EndpointFlag, Limits, LocalFlag } from "../../abi/layout.gen.js";
import { addressKey, macOrOwn, prefixKey, record, sourceKey, u32, type Bytes } from "../../abi/records.js";
import type { DesiredEndpoint, OwnedPrefix, PolicySetKey } from "../../compile/desired.js";
import { isSingle, macBytes, prefixLength, prefixToAddress } from "../../model/cidr.js";
import type { EndpointId, Prefix } from "../../model/types.js";
import type { Tap } from "../backend.js";
import { withoutMapped } from "./mapped.js";
import type { MapName } from "./plan.js";

export type SetNumber = (key: PolicySetKey) => number;

/** Where the mark's 14 bits come from (abi.h, endpoint.mark): 1..16383. */
export function markOf(ifindex: number): number {
  return (ifindex % 16383) + 1;
}

/** Marks that more than one tap would have: none of them gets it. */
export function collidingMarks(taps: Iterable<Tap>): ReadonlySet<number> {
  const seen = new Set<number>();
  const colliding = new Set<number>();
  for (const { ifindex } of taps) (seen.has(markOf(ifindex)) ? colliding : seen).add(markOf(ifindex));
  return colliding;
}

/**
 * Slots of `tap_slot` (abi.h) for what `tap` holds, ifindex to endpoint number. Of taps that would share a slot the lowest ifindex gets it, and
 * the others are found in `tap`.
 */
export function tapSlots(taps: Iterable<readonly [ifindex: number, endpoint: number]>): Map<Bytes, Bytes> {
  const slots = new Map<Bytes, Bytes>();
  for (const [ifindex, endpoint] of [...taps].sort(([a], [b]) => a - b)) {
    const key = u32(ifindex % Limits.MAX_TAPS);
    if (!slots.has(key)) slots.set(key, record("tap_slot", { ifindex, endpoint }));
  }
  return slots;
}

export function endpointFlags(endpoint: DesiredEndpoint): number {
  return (
    EndpointFlag.ENDPOINT_PRESENT |
    (endpoint.adminUp ? 0 : EndpointFlag.ENDPOINT_ADMIN_DOWN) |
    (endpoint.portSecurity ? 0 : EndpointFlag.ENDPOINT_NO_PORT_SECURITY) |
    (endpoint.blocked === undefined ? 0 : EndpointFlag.ENDPOINT_BLOCKED)
  );
}

export function endpointValue(
  endpoint: DesiredEndpoint,
  tap: Tap | undefined,
  colliding: ReadonlySet<number>,
  generation: number,
  setNumber: SetNumber,
): Bytes {
  const mark = tap === undefined || colliding.has(markOf(tap.ifindex)) ? 0 : markOf(tap.ifindex);
  return record("endpoint", {
    ifindex: tap?.ifindex ?? 0,
    generation,
    policy_set: setNumber(endpoint.set),
    flags: endpointFlags(endpoint),
    mtu: tap?.mtu ?? 0,
    mark,
    mac: macBytes(endpoint.mac),
    ...(tap === undefined ? {} : { host_mac: macBytes(tap.mac) }),
  });
}

/** 0 where it is the endpoint's own set: then a flip is one write. */
function ownSet(endpoint: DesiredEndpoint, owned: OwnedPrefix, setNumber: SetNumber): number {
  return owned.set === undefined || owned.set === endpoint.set ? 0 : setNumber(owned.set);
}

/** Fixed addresses first: where a pair repeats one with another MAC, a value has room for one, and it is the fixed address's. */
function ownedInOrder(endpoint: DesiredEndpoint): readonly OwnedPrefix[] {
  return [...endpoint.owned].sort((a, b) => Number(a.kind === "pair") - Number(b.kind === "pair"));
}

/** Where the endpoint may send from (S6). */
export function sourceEntries(endpoint: DesiredEndpoint, number: number, setNumber: SetNumber): Map<Bytes, Bytes> {
  const entries = new Map<Bytes, Bytes>();
  for (const owned of ownedInOrder(endpoint)) {
    const value = record("source", { policy_set: ownSet(endpoint, owned, setNumber), mac: macOrOwn(owned.mac) });
    for (const part of withoutMapped(owned.prefix)) {
      const key = sourceKey(number, part);
      if (!entries.has(key)) entries.set(key, value);
    }
  }
  return entries;
}

/**
 * Prefixes that the endpoint is sent packets for. An allowed pair of length 0 ("may send from anywhere") is left out: it would draw all that this
 * host's other guests send to the rest of the world.
 */
export function receivedPrefixes(endpoint: DesiredEndpoint): Prefix[] {
  return [...new Set(endpoint.owned.filter(({ prefix }) => prefixLength(prefix) > 0).map(({ prefix }) => prefix))];
}

/** `local` for one address, `local_prefix` for more. */
export function localKeys(prefix: Prefix): { readonly map: MapName; readonly keys: readonly Bytes[] } {
  if (isSingle(prefix)) return { map: "local", keys: [addressKey(prefixToAddress(prefix))] };
  return { map: "local_prefix", keys: withoutMapped(prefix).map(prefixKey) };
}

/** What each floating IP stands for. */
export function floatingEntries(endpoints: Iterable<DesiredEndpoint>): Map<Bytes, Bytes> {
  const entries = new Map<Bytes, Bytes>();
  for (const { floating = [] } of endpoints)
    for (const { external, internal } of floating) entries.set(addressKey(external), addressKey(internal));
  return entries;
}

export interface Owner {
  readonly endpoint: DesiredEndpoint;
  readonly number: number;
}

/**
 * Who gets what is sent to a prefix: its owner; of several the one that announced it last (`chosen`, the number in the kernel) as long as it is
 * one of them, else the lowest id. A shared entry carries no set and MAC of its own: the program moves the number and looks in `source`.
 */
export function localValue(
  prefix: Prefix,
  owners: readonly Owner[],
  chosen: number | undefined,
  alsoRemote: boolean,
  setNumber: SetNumber,
): Bytes | undefined {
  const sorted = [...owners].sort((a, b) => compareIds(a.endpoint.id, b.endpoint.id));
  const [first, second] = sorted;
  if (first === undefined) return undefined;
  const remote = alsoRemote ? LocalFlag.LOCAL_REMOTE_TOO : 0;
  if (second !== undefined) {
    const number = sorted.some((owner) => owner.number === chosen) ? (chosen ?? first.number) : first.number;
    return record("local", { endpoint: number, flags: remote | LocalFlag.LOCAL_SHARED });
  }
  const owned = ownedInOrder(first.endpoint).find((entry) => entry.prefix === prefix);
  if (owned === undefined) return undefined;
  return record("local", {
    endpoint: first.number,
    policy_set: ownSet(first.endpoint, owned, setNumber),
    mac: macOrOwn(owned.mac),
    flags: remote,
  });
}

function compareIds(a: EndpointId, b: EndpointId): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
