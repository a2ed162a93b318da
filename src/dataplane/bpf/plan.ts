/**
 * What is to be written, in an order in which a packet gets the old answer or the new one, never a third (D6). Pure.
 *
 * "grow" phases may run out of room; once one has failed the rest of them, and every "after" phase, is left out, so that nothing points at what
 * is half written. "shrink" phases always run: they only take away. "after" phases need everything before them.
 */
import type { MAPS } from "../../abi/layout.gen.js";
import type { Bytes } from "../../abi/records.js";

export type MapName = keyof typeof MAPS;

export const PHASES = {
  /** Numbers get their names before anything refers to them. */
  names: "grow",
  /** Limits and flags that say more than before. */
  controlUp: "grow",
  /** What passes nothing from now on: taps first, then endpoints. */
  tapsDown: "shrink",
  endpointsDown: "shrink",
  /** A mask names a length before an entry of that length exists. */
  planesUp: "grow",
  policyUp: "grow",
  planesNew: "grow",
  /** Classes of before and after together, where one write can't take an address from one answer to the other. */
  prefixesUnited: "grow",
  addressesUnited: "grow",
  ownersUp: "grow",
  /** The flip: from here on a changed endpoint is judged by its new policy set. */
  endpointsUp: "grow",
  addresses: "after",
  /** Longest first: a prefix in between would decide for a moment. */
  prefixesUp: "after",
  /** Shortest first, for the same reason. */
  prefixesDown: "after",
  addressesSettled: "after",
  tapsUp: "after",
  policyDown: "shrink",
  planesDown: "shrink",
  ownersDown: "shrink",
  /** Only a mark: generations move here (D3), after everything that narrows, or a packet in between would be remembered under the new one. */
  generations: "shrink",
  /** What nothing refers to any more. */
  policyGarbage: "after",
  planesGarbage: "after",
  namesGone: "after",
} as const;

export type PhaseName = keyof typeof PHASES;
export type PhaseKind = (typeof PHASES)[PhaseName];

export interface Batch {
  readonly phase: PhaseName;
  readonly map: MapName;
  /** Value undefined: the key goes. A batch holds either sets or deletes. */
  readonly entries: readonly (readonly [Bytes, Bytes | undefined])[];
}

export class Plan {
  /** Endpoints whose generation must move, by number, and whether the host-wide one must. */
  readonly bumps = new Set<number>();
  host = false;
  readonly #phases = new Map<PhaseName, Map<string, { map: MapName; entries: [Bytes, Bytes | undefined][] }>>();

  set(phase: PhaseName, map: MapName, key: Bytes, value: Bytes): void {
    this.#add(phase, map, key, value);
  }

  delete(phase: PhaseName, map: MapName, key: Bytes): void {
    this.#add(phase, map, key, undefined);
  }

  #add(phase: PhaseName, map: MapName, key: Bytes, value: Bytes | undefined): void {
    let batches = this.#phases.get(phase);
    if (batches === undefined) this.#phases.set(phase, (batches = new Map()));
    const name = `${value === undefined ? "-" : "+"}${map}`;
    let batch = batches.get(name);
    if (batch === undefined) batches.set(name, (batch = { map, entries: [] }));
    batch.entries.push([key, value]);
  }

  batches(phase: PhaseName): readonly Batch[] {
    return [...(this.#phases.get(phase)?.values() ?? [])].map(({ map, entries }) => ({ phase, map, entries }));
  }
}
