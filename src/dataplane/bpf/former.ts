/**
 * From another dataplane to the programs, with no moment of open policy (D5) and without cutting established flows (D6):
 *
 *   1. our maps are filled, while the former rules enforce                        (the backend, before)
 *   2. what they track is copied into the flow table, and then what changed meanwhile
 *   3. our programs come in at every ingress, then at the taps' egress
 *   4. what began since 2 is copied
 *   5. whoever called takes the former rules away
 *
 * In that order, because a packet that a program judged at ingress goes straight to its tap, while one that the rules judged would
 * be taken for forged by a program that meets it at a tap's egress with a local sender. Before 5 all of it may be repeated.
 */
import type { BpfMap } from "#libbpf";
import type { DesiredState } from "../../compile/desired.js";
import type { EndpointId } from "../../model/types.js";
import { describeLayout, StructReader } from "../../abi/description.js";
import { NameKind } from "../../abi/layout.gen.js";
import { recordOfFlow, type Ends, type Flow } from "../switch/flow.js";
import { FlowAdopter, type AdoptedCounts } from "./adopt-flows.js";
import { DEFAULT_TIMEOUTS } from "./images-control.js";
import { endpointNumbers } from "./predecessor.js";
import type { MapName } from "./plan.js";
import { digestOf } from "./registry.js";

/** Where flows go. */
export interface FlowSink {
  /** The endpoint's number; undefined: it has none. */
  numberOf(id: EndpointId): number | undefined;
  put(flow: Flow, ends: Ends): void;
}

/** What enforced until now and tracks connections. */
export interface Former {
  /** "iptables" */
  readonly name: string;
  /** Hands on every connection of ours that it tracks. May be called again. */
  copyFlows(desired: DesiredState, sink: FlowSink): Promise<void>;
}

export interface FormerReport extends AdoptedCounts {
  readonly from: string;
  /** From the first program that came in until the last flow was copied. */
  readonly swapMilliseconds: number;
}

export class FormerTakeover {
  #adopter: FlowAdopter | undefined;
  #numbers: ReadonlyMap<string, number> = new Map();

  /** @param adoptObject file with the program that inserts flows */
  constructor(
    readonly former: Former,
    private readonly maps: ReadonlyMap<MapName, BpfMap>,
    private readonly adoptObject: string,
    private readonly hz: number,
    private readonly timeouts: Readonly<Record<string, number>>,
  ) {}

  /** @param running our programs are on their hooks and keep the flow table themselves */
  async copyFlows(desired: DesiredState, running: boolean): Promise<void> {
    const adopter = (this.#adopter ??= await FlowAdopter.open(this.adoptObject, this.maps, { aged: true }));
    adopter.newOnly = running;
    this.#numbers = this.#readNumbers();
    await this.former.copyFlows(desired, {
      numberOf: (id) => this.#numbers.get(digestOf(id).toString("latin1")),
      put: (flow, ends) => {
        const timeout = this.timeouts[flow.phase] ?? DEFAULT_TIMEOUTS[flow.phase] ?? 0;
        adopter.put(recordOfFlow(flow, ends, timeout, this.hz));
      },
    });
    adopter.flush();
  }

  finish(swapMilliseconds: number): FormerReport {
    const counts = this.#adopter?.counts ?? { adopted: 0, merged: 0, expired: 0, refused: 0 };
    this.close();
    return { from: this.former.name, ...counts, swapMilliseconds };
  }

  close(): void {
    this.#adopter?.close();
    this.#adopter = undefined;
  }

  #readNumbers(): ReadonlyMap<string, number> {
    const layout = describeLayout();
    const dump = this.maps.get("name")?.dump() ?? { count: 0, keys: Buffer.alloc(0), values: Buffer.alloc(0) };
    const [key, name] = [new StructReader(layout, "name_key"), new StructReader(layout, "name")];
    return endpointNumbers(key, name, NameKind.NAME_ENDPOINT, dump);
  }
}
