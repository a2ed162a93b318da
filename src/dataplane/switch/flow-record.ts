/** Records of the programs' flow table, of this or another layout, as flows: by the names of fields (src/abi/description.ts). Pure. */
import { FlowState } from "../../abi/layout.gen.js";
import { StructReader, translate, type LayoutDescription } from "../../abi/description.js";
import { addressFromBytes } from "../../model/cidr.js";
import type { Address } from "../../model/types.js";
import type { Flow, Phase } from "./flow.js";

const PHASES = new Map<number, Phase>(
  Object.entries(FlowState)
    .filter(([name]) => !["FLOW_DEAD", "FLOW_FRAGMENT", "FLOW_STATES"].includes(name))
    .map(([name, number]) => [number, name as Phase]),
);

/** What of a flow is the table's own: when its last packet was, and the numbers of the endpoints at its ends. */
export interface FlowRecord {
  readonly flow: Omit<Flow, "remaining">;
  /** Low 32 bits of jiffies. */
  readonly seen: number;
  readonly endpoints: readonly [source: number, destination: number];
}

export class FlowReader {
  readonly #key: StructReader;
  readonly #flow: StructReader;
  readonly #states: ReadonlyMap<number, number>;
  readonly #flags: Readonly<Record<string, number>>;

  /** @throws RangeError when the layout lacks what makes a flow */
  constructor(layout: LayoutDescription) {
    this.#key = new StructReader(layout, "flow_key");
    this.#flow = new StructReader(layout, "flow");
    this.#states = translate(layout.enums["FlowState"], FlowState);
    this.#flags = layout.enums["FlowFlag"] ?? {};
    if (this.#key.bytesOf("address") !== 32) throw new RangeError("the layout's addresses are not of 16 bytes");
    for (const name of ["FLOW_OPENER_HI", "FLOW_HOST"])
      if (this.#flags[name] === undefined) throw new RangeError(`the layout has no ${name}`);
  }

  /** Undefined: a dead entry, or one in a state that has no counterpart. */
  read(keys: Buffer, keyAt: number, values: Buffer, valueAt: number): FlowRecord | undefined {
    const key = (field: string, index = 0): number => this.#key.number(keys, keyAt, field, index) ?? 0;
    const value = (field: string, index = 0): number => this.#flow.number(values, valueAt, field, index) ?? 0;
    const phase = PHASES.get(this.#states.get(value("state")) ?? 0);
    const addresses = this.#key.bytes(keys, keyAt, "address");
    if (phase === undefined || addresses === undefined) return undefined;
    const has = (flag: string): boolean => (value("flags") & (this.#flags[flag] ?? 0)) !== 0;
    const high = has("FLOW_OPENER_HI");
    const inOrder = <T>(lo: T, hi: T): [opener: T, other: T] => (high ? [hi, lo] : [lo, hi]);
    const [source, destination] = inOrder(addresses.subarray(0, 16), addresses.subarray(16, 32)).map(
      addressFromBytes,
    ) as [Address, Address];
    const isQuery = key("asker") !== 0;
    const [sourcePort, destinationPort] = isQuery ? [0, 0] : inOrder(key("port", 0), key("port", 1));
    const [opener, other] = inOrder(has("FLOW_FIN_LO"), has("FLOW_FIN_HI"));
    return {
      flow: {
        family: key("family") === 6 ? 6 : 4,
        protocol: key("protocol"),
        source,
        destination,
        sourcePort,
        destinationPort,
        ...(isQuery ? { query: { id: key("port", 0), type: key("port", 1) >>> 8, code: key("port", 1) & 0xff } } : {}),
        phase,
        answered: inOrder(value("packets", 0), value("packets", 1))[1] > 0,
        fin: { opener, other },
        byHost: has("FLOW_HOST"),
        translated: value("translated") !== 0,
      },
      seen: value("last_seen"),
      endpoints: inOrder(value("endpoint", 0), value("endpoint", 1)),
    };
  }
}

/**
 * Seconds that a flow may go on, by the timeouts of its own table; not above 0: it has ended.
 * @param now low 32 bits of jiffies
 */
export function remainingSeconds(seen: number, now: number, timeoutJiffies: number, hz: number): number {
  const age = (now - seen) | 0;
  return (timeoutJiffies - Math.max(0, age)) / hz;
}
