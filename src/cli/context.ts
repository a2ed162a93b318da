/** Everything outside that a command may touch; src/main.ts makes the real one, tests make others. */
import type { LoadedConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import type { RepairReport } from "../check/repair.js";
import type { CheckReport } from "../check/run.js";
import type { Doctored } from "../doctor/run.js";
import type { AgentStatus } from "../agent/status.js";
import type { DropFilter, DroppedPacket, DropWatch } from "../dataplane/bpf/drop-watch.js";
import type { Entry } from "../dataplane/bpf/explain.js";
import type { FlowClock, PinnedFlow } from "../dataplane/bpf/read-flows.js";
import type { PinnedPolicy } from "../dataplane/bpf/read-policy.js";
import type { PinnedDrop, PinnedEndpoint, PinnedState } from "../dataplane/bpf/read.js";
import type { Tables } from "../dataplane/bpf/tables.js";
import type { Walk } from "../dataplane/bpf/walk.js";
import type { RuleCount, SetInfo } from "../dataplane/iptables/read-state.js";
import type { HandbackOptions, HandbackReport } from "../incumbent/handback.js";
import type { TakeoverOptions, TakeoverReport } from "../incumbent/takeover.js";
import type { StandingRules } from "../dataplane/iptables/walk-rules.js";
import type { Link, Route } from "../links/types.js";
import type { Family } from "../model/types.js";
import type { DatastoreAccess } from "./datastore-access.js";
import type { DatastoreModel } from "./read-model.js";

/** What the kernel enforces, whichever dataplane it is. */
export interface KernelState extends Pick<PinnedState, "endpoints" | "drops" | "policy" | "name" | "close"> {
  control(): { readonly flow_limit: number };
}

/** What rules of one chain dropped for one reason, since the chain was written. */
export interface ChainDrop extends PinnedDrop {
  readonly chain: string;
  readonly family: Family;
  /** Absent: the chain does not say. */
  readonly direction?: "ingress" | "egress";
}

/** What iptables enforces, for the commands that otherwise read maps. */
export interface RulesView {
  endpoints(): PinnedEndpoint[];
  drops(): PinnedDrop[];
  /** By chain, read anew. */
  dropCounts(): Promise<readonly ChainDrop[]>;
  /** Chains and sets as they stand in the kernel. */
  standing(family: Family): Promise<StandingRules>;
  policy(endpointNumber: number): PinnedPolicy | undefined;
  name(kind: number, number: number): string | undefined;
  /** Of the host's connection tracking: one table for all. */
  room(): { readonly used: number; readonly limit: number };
  /** Connections that a guest has an end of. @param name what people call a port, by number */
  connections(name: (endpoint: number) => string | undefined): Promise<readonly PinnedFlow[]>;
  /** Of those that connections() gave last; how many were there to go. */
  forget(keys: readonly PinnedFlow["key"][]): Promise<number>;
  ruleCounts(): Promise<readonly RuleCount[]>;
  sets(): Promise<readonly SetInfo[]>;
  /** Undefined: there is no such set of ours. */
  members(set: string): Promise<readonly string[] | undefined>;
  close(): void;
}

/** Of an interface, as its host sees it: what a guest sends is received. */
export interface PacketCounts {
  readonly received: number;
  readonly sent: number;
}

export interface GuardState {
  /** Whether the standing rule is there and as it should be. */
  readonly state: "on" | "off" | "altered";
  /** For people: what is there, by which program. */
  readonly detail: readonly string[];
}

/** What `cleanup` took away. */
export interface Removed {
  readonly what: string;
  readonly count: number;
}

export interface Context {
  readonly version: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Effective user. */
  readonly uid: number;
  readonly colours: boolean;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Undefined: there is no such file. @throws Error (errno) */
  readonly readText: (path: string) => string | undefined;

  /** What is pinned, or what the agent last wrote into iptables. @throws CommandError absent when neither is there */
  readonly openState: (pinDir: string, runDir: string) => Promise<KernelState>;
  /** The pinned maps. @throws CommandError absent when there are none, unsupported where iptables enforces */
  readonly openMaps: (pinDir: string, runDir: string) => Promise<PinnedState>;
  /** Undefined: iptables does not enforce here. @throws CommandError notPermitted */
  readonly openRules: (config: Config) => Promise<RulesView | undefined>;
  /** How the flow table's times are read. */
  readonly flowClock: (state: PinnedState) => Promise<FlowClock>;
  /** Takes flows that are over or were deleted off these endpoints' accounts; 0 is none. @throws Error (BpfError) */
  readonly sweepFlows: (tables: Tables, endpoints: ReadonlySet<number>) => Promise<void>;
  /** Calls back for what the programs drop. @throws CommandError refused: somebody else watches */
  readonly watchDrops: (
    tables: Tables,
    filter: DropFilter,
    onDrop: (drop: DroppedPacket) => void,
  ) => Promise<DropWatch>;
  /** Runs a frame through the programs on the pinned maps, which stay as they are. @throws UnsupportedError */
  readonly explain: (tables: Tables, entry: Entry, frame: Buffer) => Promise<Walk>;
  /** Whether the programs that enforce are those of this build. */
  readonly isOwnBuild: (tables: Tables, config: Config) => Promise<boolean>;
  /** What the datastore says now. @throws CommandError absent when it can't be read, ConfigError */
  readonly readModel: (loaded: LoadedConfig) => Promise<DatastoreModel>;
  readonly links: () => Promise<readonly Link[]>;
  /** Of this host itself. */
  readonly hostAddresses: () => ReadonlySet<string>;
  /** Routes of a protocol number in the main table, by rtnetlink. */
  readonly routes: (protocol: number) => Promise<readonly Route[]>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Undefined: the output is no terminal. */
  readonly terminal: () => { readonly rows: number; readonly columns: number } | undefined;
  /** By interface, of this network namespace. */
  readonly packetCounts: () => ReadonlyMap<string, PacketCounts>;
  /** Resolves after so many milliseconds: false when the user wants to stop (Ctrl-C). */
  readonly pause: (milliseconds: number) => Promise<boolean>;
  readonly readStatus: (runDir: string) => AgentStatus | undefined;
  readonly agentRuns: (runDir: string) => boolean;
  readonly lockHolder: (runDir: string) => number | undefined;
  /** ifindex -> name of the interfaces that are there now. */
  readonly interfaceNames: () => Promise<ReadonlyMap<number, string>>;

  /** Runs until a signal; resolves with the exit status. */
  readonly runAgent: (loaded: LoadedConfig) => Promise<number>;
  readonly runDemo: (words: readonly string[]) => Promise<number>;
  /** Our taps that are up, by name. */
  readonly openTaps: (config: Config) => Promise<readonly string[]>;
  /** Removes all that Torbie owns; also what is left of a broken installation. */
  readonly cleanup: (config: Config) => Promise<readonly Removed[]>;
  /** @throws DataplaneError */
  readonly takeover: (loaded: LoadedConfig, options: TakeoverOptions) => Promise<TakeoverReport>;
  /** @throws DataplaneError */
  readonly handback: (loaded: LoadedConfig, options: HandbackOptions) => Promise<HandbackReport>;
  /** etcd, directories of YAML and the identity file. @throws ConfigError */
  readonly datastore: (loaded: LoadedConfig) => Promise<DatastoreAccess>;
  /** The datastore, the agent's wish and the kernel, compared. @throws NothingToCheck, ConfigError, DataplaneError */
  readonly check: (loaded: LoadedConfig) => Promise<CheckReport>;
  /** Puts right what differs. @throws DataplaneError */
  readonly repair: (loaded: LoadedConfig) => Promise<RepairReport>;
  /** Everything on this host that enforcement depends on. Changes nothing. @throws DataplaneError */
  readonly doctor: (config: Config) => Promise<Doctored>;
  readonly guard: (config: Config) => {
    readonly show: () => Promise<GuardState>;
    /** True when it had to write. */
    readonly install: () => Promise<boolean>;
    readonly remove: () => Promise<boolean>;
  };
}
