/** What is pinned, read without an agent: for the CLI. Reads only. */
import type { BpfMap } from "#libbpf";
import { decode, type RecordOf } from "../../abi/codec.js";
import { EndpointFlag, FlowState, FlowStateNames, Limits, NameKind } from "../../abi/layout.gen.js";
import {
  policySetOf,
  readAddress,
  readMac,
  readPrefix,
  readSource,
  readU32,
  u32,
  type Bytes,
} from "../../abi/records.js";
import type { Address, Mac, Prefix } from "../../model/types.js";
import { KernelMaps, type Maps } from "./maps.js";
import { checkShape, openPinnedMap } from "./objects.js";
import { DEFAULT_PIN_DIR, MAP_NAMES } from "./pins.js";
import type { MapName } from "./plan.js";
import { decodePolicy, type PinnedPolicy } from "./read-policy.js";
import { explainReason } from "./reasons.js";
import { PinnedTables, type Tables } from "./tables.js";

export interface PinnedEndpoint {
  readonly number: number;
  /** As in the datastore; cut to 232 bytes. Absent: a crash came before the name was written. */
  readonly id?: string;
  /** 0: its tap is not there. */
  readonly ifindex: number;
  readonly mac?: Mac;
  readonly mtu: number;
  readonly policySet: number;
  readonly generation: number;
  readonly adminUp: boolean;
  readonly portSecurity: boolean;
  readonly blocked: boolean;
  /** Where it may send from. */
  readonly sources: readonly { readonly prefix: Prefix; readonly mac?: Mac; readonly policySet: number }[];
  /** Flows that it owns now; half open: inbound and unanswered. */
  readonly flows: {
    readonly count: number;
    readonly halfOpen: number;
    readonly opened: number;
    readonly refused: number;
  };
}

export interface PinnedDrop {
  /** 0: no endpoint is known. */
  readonly endpoint: number;
  readonly reason: string;
  readonly sentence: string;
  readonly packets: bigint;
}

export interface FlowSummary {
  readonly used: number;
  readonly limit: number;
  readonly byState: Readonly<Record<string, number>>;
}

export interface PinnedState {
  endpoints(): PinnedEndpoint[];
  /** Undefined: there is no such endpoint. */
  policy(endpointNumber: number): PinnedPolicy | undefined;
  drops(): PinnedDrop[];
  flows(): FlowSummary;
  control(): RecordOf<"control">;
  /** Which endpoint gets what is sent to each local address. */
  locals(): { readonly prefix: Prefix | Address; readonly endpoint: number; readonly flags: number }[];
  /** What each floating IP stands for. */
  floating(): ReadonlyMap<Address, Address>;
  taps(): ReadonlyMap<number, number>;
  /** Text of a number, cut to 232 bytes. */
  name(kind: number, number: number): string | undefined;
  /** Every map as it is. */
  readonly tables: Tables;
  /** As the engine sees them; to be read. */
  readonly kernel: Pick<Maps, "get" | "dump">;
  /** The ring buffer, for readEvents. */
  readonly eventMap: BpfMap;
  /** Bytes of kernel memory by map. */
  memory(): Readonly<Record<string, bigint>>;
  close(): void;
}

/** Throws DataplaneError: PINNED_MISSING when nothing (or not everything) is pinned in the directory, PINNED_SHAPE when it is another version's. */
export function openPinned(pinDir: string = DEFAULT_PIN_DIR): PinnedState {
  const maps = new Map<MapName, BpfMap>();
  const close = (): void => {
    for (const map of maps.values()) map.close();
  };
  try {
    for (const name of MAP_NAMES) {
      const map = openPinnedMap(pinDir, name);
      maps.set(name, map);
      checkShape(name, map, pinDir);
    }
  } catch (error) {
    close();
    throw error;
  }
  return new Pinned(new KernelMaps(maps), maps, close);
}

const parse = <S extends Parameters<typeof decode>[0]>(name: S, bytes: Bytes): RecordOf<S> =>
  decode(name, Buffer.from(bytes, "latin1"));

class Pinned implements PinnedState {
  readonly tables: Tables;

  constructor(
    readonly kernel: KernelMaps,
    private readonly maps: ReadonlyMap<MapName, BpfMap>,
    readonly close: () => void,
  ) {
    this.tables = new PinnedTables(maps);
  }

  get eventMap(): BpfMap {
    return this.kernel.of("event");
  }

  name(kind: number, number: number): string | undefined {
    const key = Buffer.concat([Buffer.from(u32(kind), "latin1"), Buffer.from(u32(number), "latin1")]).toString(
      "latin1",
    ) as Bytes;
    const value = this.kernel.get("name", key);
    if (value === undefined) return undefined;
    const { text, length } = parse("name", value);
    return Buffer.from(text).subarray(0, length).toString("utf8");
  }

  endpoints(): PinnedEndpoint[] {
    const sources = new Map<number, { prefix: Prefix; mac?: Mac; policySet: number }[]>();
    for (const [key, value] of this.kernel.dump("source")) {
      const { endpoint, prefix } = readSource(key);
      const { mac, policy_set } = parse("source", value);
      const own = readMac(mac);
      sources.set(endpoint, [
        ...(sources.get(endpoint) ?? []),
        { prefix, policySet: policy_set, ...(own === undefined ? {} : { mac: own }) },
      ]);
    }
    const endpoints: PinnedEndpoint[] = [];
    for (const [key, value] of this.kernel.dump("endpoint")) {
      const endpoint = parse("endpoint", value);
      if ((endpoint.flags & EndpointFlag.ENDPOINT_PRESENT) === 0) continue;
      const number = readU32(key);
      const id = this.name(NameKind.NAME_ENDPOINT, number);
      const mac = readMac(endpoint.mac);
      const account = this.#account(number);
      endpoints.push({
        number,
        ...(id === undefined ? {} : { id }),
        ifindex: endpoint.ifindex,
        ...(mac === undefined ? {} : { mac }),
        mtu: endpoint.mtu,
        policySet: endpoint.policy_set,
        generation: endpoint.generation,
        adminUp: (endpoint.flags & EndpointFlag.ENDPOINT_ADMIN_DOWN) === 0,
        portSecurity: (endpoint.flags & EndpointFlag.ENDPOINT_NO_PORT_SECURITY) === 0,
        blocked: (endpoint.flags & EndpointFlag.ENDPOINT_BLOCKED) !== 0,
        sources: sources.get(number) ?? [],
        flows: {
          count: account?.count ?? 0,
          halfOpen: account?.half_open ?? 0,
          opened: account?.opened ?? 0,
          refused: account?.refused ?? 0,
        },
      });
    }
    return endpoints.sort((a, b) => a.number - b.number);
  }

  #account(number: number): RecordOf<"account"> | undefined {
    const value = this.kernel.get("account", u32(number));
    return value === undefined ? undefined : parse("account", value);
  }

  policy(endpointNumber: number): PinnedPolicy | undefined {
    const value = this.kernel.get("endpoint", u32(endpointNumber));
    if (value === undefined) return undefined;
    const endpoint = parse("endpoint", value);
    if ((endpoint.flags & EndpointFlag.ENDPOINT_PRESENT) === 0) return undefined;
    const set = endpoint.policy_set;
    const planes = [...this.kernel.dump("plane")].filter(([key]) => readU32(key) === set);
    const entries = [...this.kernel.dump("policy")].filter(([key]) => policySetOf(key) === set);
    return decodePolicy(set, this.name(NameKind.NAME_POLICY_SET, set), planes, entries, {
      name: (kind, number) => this.name(kind, number),
      hits: (rule) => this.#counter("rule_hit", rule),
    });
  }

  #counter(map: MapName, index: number): bigint {
    return (
      this.kernel
        .of(map)
        .get(Buffer.from(u32(index), "latin1"))
        ?.readBigUInt64LE() ?? 0n
    );
  }

  drops(): PinnedDrop[] {
    return [...this.kernel.dump("drop")].map(([key, value]) => {
      const index = readU32(key);
      const { name, sentence } = explainReason(index % Limits.MAX_REASONS);
      return {
        endpoint: Math.floor(index / Limits.MAX_REASONS),
        reason: name,
        sentence,
        packets: Buffer.from(value, "latin1").readBigUInt64LE(),
      };
    });
  }

  flows(): FlowSummary {
    const byState: Record<string, number> = {};
    let used = 0;
    for (const value of this.kernel.dump("flow").values()) {
      const { state } = parse("flow", value);
      if (state === FlowState.FLOW_DEAD) continue;
      const name = FlowStateNames[state] ?? `FLOW_${state}`;
      byState[name] = (byState[name] ?? 0) + 1;
      used++;
    }
    return { used, limit: this.kernel.of("flow").info.maxEntries, byState };
  }

  control(): RecordOf<"control"> {
    return decode("control", this.kernel.of("control").get(Buffer.from(u32(0), "latin1")) ?? Buffer.alloc(0));
  }

  locals(): { prefix: Prefix | Address; endpoint: number; flags: number }[] {
    const of = (value: Bytes): { endpoint: number; flags: number } => {
      const { endpoint, flags } = parse("local", value);
      return { endpoint, flags };
    };
    return [
      ...[...this.kernel.dump("local")].map(([key, value]) => ({ prefix: readAddress(key), ...of(value) })),
      ...[...this.kernel.dump("local_prefix")].map(([key, value]) => ({ prefix: readPrefix(key), ...of(value) })),
    ];
  }

  floating(): Map<Address, Address> {
    return new Map([...this.kernel.dump("floating")].map(([key, value]) => [readAddress(key), readAddress(value)]));
  }

  taps(): Map<number, number> {
    return new Map([...this.kernel.dump("tap")].map(([key, value]) => [readU32(key), readU32(value)]));
  }

  memory(): Record<string, bigint> {
    return Object.fromEntries([...this.maps].map(([name, map]) => [name, map.memory()]));
  }
}
