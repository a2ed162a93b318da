/** A context without a machine: what is printed is kept, what is pinned is made up. */
import type { AgentStatus } from "../../../src/agent/status.js";
import type { CheckReport } from "../../../src/check/run.js";
import type { DatastoreAccess } from "../../../src/cli/datastore-access.js";
import { nothingPinned } from "../../../src/cli/endpoint.js";
import type { Context } from "../../../src/cli/context.js";
import type { PinnedEndpoint, PinnedState } from "../../../src/dataplane/bpf/read.js";
import type { Tables } from "../../../src/dataplane/bpf/tables.js";
import { FlowState, NameKind } from "../../../src/abi/layout.gen.js";
import { addressKey, fromBytes, record, toBytes, u32, type Bytes } from "../../../src/abi/records.js";
import type { Address, Mac, Prefix } from "../../../src/model/types.js";
import { runCli } from "../../../src/cli/main.js";

export const HOSTILE = "evil\n\u001b[2J$(reboot)\u0000";

const TIMEOUTS = Array.from({ length: 16 }, () => 250 * 60);
/** A TCP flow from 10.65.0.1:4242 (port 1, the lower address) to 10.65.0.2:80 (port 2). */
export const FLOW: readonly [Bytes, Bytes] = [
  record("flow_key", {
    address: Buffer.concat([
      fromBytes(addressKey("10.65.0.1" as Address)),
      fromBytes(addressKey("10.65.0.2" as Address)),
    ]),
    port: [4242, 80],
    protocol: 6,
    family: 4,
  }),
  record("flow", {
    endpoint: [1, 2],
    state: FlowState.FLOW_ESTABLISHED,
    rule: 8,
    last_seen: 2500,
    packets: [7n, 5n],
    bytes: [700n, 9007199254740993n],
  }),
];
const TABLES: Readonly<Record<string, readonly (readonly [Bytes, Bytes])[]>> = {
  tap: [[u32(101), u32(1)]],
  flow: [FLOW],
  rule_hit: [[u32(8), toBytes(Buffer.from([12, 0, 0, 0, 0, 0, 0, 0]))]],
};

/** As src/compile makes it, cut in the middle of a name. */
const SET_NAME = `[[["default","deny","np:openstack/web~01","np:openstack/default"],["profiles","deny"]],[["default","deny","np:openst`;
const mac = (text: string): Mac => text as Mac;

export const endpoint = (number: number, id: string, more: Partial<PinnedEndpoint> = {}): PinnedEndpoint => ({
  number,
  id,
  ifindex: 100 + number,
  mac: mac("fa:16:3e:00:00:01"),
  mtu: 1500,
  generation: 1,
  adminUp: true,
  portSecurity: true,
  blocked: false,
  policySet: 5,
  sources: [
    { prefix: `10.65.0.${number}/32` as Prefix, policySet: 0 },
    { prefix: "fd00::/64" as Prefix, mac: mac("fa:16:3e:00:00:99"), policySet: 0 },
  ],
  flows: { count: 3, halfOpen: 1, opened: 10, refused: 0 },
  ...more,
});

export const ENDPOINTS: readonly PinnedEndpoint[] = [
  endpoint(1, "openstack/host1-openstack-web1-1a2b3c4d--0001"),
  endpoint(2, "openstack/host1-openstack-web2-1a2b3c4d--0002", { portSecurity: false }),
  endpoint(3, `openstack/host1-openstack-${HOSTILE}-p3`, { ifindex: 0, policySet: 0, adminUp: false }),
];

export const state = (closed: { count: number }, endpoints = ENDPOINTS): PinnedState => ({
  endpoints: () => [...endpoints],
  floating: () => new Map(),
  name: (kind) => (kind === NameKind.NAME_POLICY_SET ? SET_NAME : undefined),
  drops: () => [
    { endpoint: 0, reason: "NO_ENDPOINT", sentence: "the tap belongs to no endpoint", packets: 4n },
    { endpoint: 1, reason: "SPOOFED_ADDRESS", sentence: "sent from an address that is not its own", packets: 7n },
    { endpoint: 1, reason: "ARP_ABSORBED", sentence: "ARP that needs no answer", packets: 9007199254740993n },
  ],
  policy: () => ({
    set: 5,
    name: SET_NAME,
    ingress: [
      {
        number: 0,
        end: "deny",
        allowOnly: true,
        rules: [
          {
            number: 8,
            text: `np:openstack/web ingress allow proto 6 to 80,8000-8010 remote "all()"`,
            order: 1,
            action: "allow",
            stateless: true,
            families: [4],
            protocols: [6],
            ports: [
              { first: 80, last: 80 },
              { first: 8000, last: 8010 },
            ],
            remotes: [`all() ${HOSTILE}`],
            hits: 12n,
          },
          {
            number: 9,
            text: `"gnp:evil\\n" ingress allow proto 1 remote "any"`,
            order: 2,
            action: "allow",
            stateless: false,
            families: [4, 6],
            protocols: [1],
            ports: [{ first: 0x800, last: 0x8ff }],
            remotes: ["any"],
            hits: 2n,
          },
        ],
      },
    ],
    egress: [
      {
        number: 0,
        end: "deny",
        allowOnly: true,
        rules: [
          {
            number: 7,
            order: 1,
            action: "allow",
            stateless: false,
            families: [4, 6],
            protocols: [17],
            sourcePorts: [{ first: 53, last: 53 }],
            remotes: ["any"],
            hits: 0n,
          },
        ],
      },
    ],
  }),
  flows: () => ({ used: 6, limit: 262144, byState: {} }),
  control: () =>
    ({
      flow_limit: 262144,
      guaranteed: 100,
      port_limit: 1000,
      reserve: 10,
      timeout: TIMEOUTS,
    }) as unknown as ReturnType<PinnedState["control"]>,
  locals: () => [],
  taps: () => new Map(),
  memory: () => ({}),
  tables: {
    names: ["tap"],
    info: (name) => ({
      name,
      type: "hash",
      keySize: 4,
      valueSize: 4,
      maxEntries: 8,
      memory: 4096n,
      readable: name !== "event",
    }),
    entries: (name) => TABLES[name]?.[Symbol.iterator]() ?? [][Symbol.iterator](),
    get: () => undefined,
    delete: (_name, keys) => keys.length,
    set: () => undefined,
    raw: () => {
      throw new Error("there is no kernel");
    },
  } satisfies Tables,
  get kernel(): never {
    throw new Error("there is no kernel");
  },
  get eventMap(): never {
    throw new Error("the CLI has no business with it");
  },
  close: () => void closed.count++,
});

export const STATUS: AgentStatus = {
  format: 1,
  version: "0.1.0",
  pid: 4711,
  started: "2026-01-01T00:00:00.000Z",
  updated: "2026-01-01T00:01:00.000Z",
  hostname: "host1",
  pinDir: "/sys/fs/bpf/torbie",
  dataplane: { name: "bpf", why: "kernel 6.18 has all that is needed" },
  guard: "on",
  datastore: { description: "directory /etc/torbie/policy", state: "in-sync" },
  applies: 3,
  totalWrites: 40,
  problems: [{ where: HOSTILE, code: "BAD_CIDR", what: "impossible", consequence: "this rule allows nothing" }],
  interfaces: {
    taps: [{ name: "tap1", ifindex: 101, mac: "02:00:00:00:00:01", mtu: 1500, up: true }],
    uplinks: [{ name: "eth0", ifindex: 2 }],
  },
  endpoints: [
    {
      id: ENDPOINTS[2]?.id ?? "",
      workload: HOSTILE,
      endpoint: "p3",
      interface: "tap3",
      enforced: false,
      why: "its interface is not there",
      notEnforced: ["qosControls"],
    },
  ],
  policies: [{ id: "np:openstack/web", name: "web", origin: "groups.yaml:20" }],
};

export const SAME: CheckReport = {
  dataplane: "bpf",
  datastore: { description: "directory /etc/torbie/policy", problems: [] },
  agent: { running: true, behind: [] },
  against: "datastore",
  endpoints: 3,
  differences: [],
};

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
  readonly calls: readonly string[];
}

export async function cli(
  words: readonly string[],
  change: Partial<Context> & { pinned?: boolean } = {},
): Promise<Ran> {
  let out = "";
  let err = "";
  const calls: string[] = [];
  const closed = { count: 0 };
  let opened = 0;
  const { pinned = true, ...overrides } = change;
  const context: Context = {
    version: "0.1.0",
    environment: {},
    uid: 0,
    colours: false,
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    readText: () => undefined,
    openState: (dir) => {
      if (!pinned) return Promise.reject(nothingPinned(dir));
      opened++;
      return Promise.resolve(state(closed));
    },
    openMaps: (dir) => {
      if (!pinned) return Promise.reject(nothingPinned(dir));
      opened++;
      return Promise.resolve(state(closed));
    },
    openRules: () => Promise.resolve(undefined),
    flowClock: () => Promise.resolve({ now: 5000, hz: 250, timeouts: TIMEOUTS }),
    sweepFlows: (_tables, endpoints) => {
      calls.push(`sweep ${[...endpoints].join(" ")}`);
      return Promise.resolve();
    },
    watchDrops: () => Promise.resolve({ refresh: () => undefined, missed: () => 0n, close: () => undefined }),
    explain: () => Promise.resolve({ steps: [], cut: false, verdict: "pass", frame: Buffer.alloc(0) }),
    isOwnBuild: () => Promise.resolve(true),
    readModel: () => Promise.reject(new Error("there is no datastore")),
    links: () => Promise.resolve([]),
    hostAddresses: () => new Set(["127.0.0.1", "192.0.2.1"]),
    routes: () => Promise.resolve([]),
    now: () => 0,
    terminal: () => undefined,
    packetCounts: () => new Map([["tap1a2b3c4d-01", { received: 5, sent: 6 }]]),
    pause: () => Promise.resolve(false),
    readStatus: () => STATUS,
    agentRuns: () => true,
    lockHolder: () => 4711,
    interfaceNames: () =>
      Promise.resolve(
        new Map([
          [101, "tap1a2b3c4d-01"],
          [102, "tap1a2b3c4d-02"],
        ]),
      ),
    runAgent: ({ config }) => {
      calls.push(`agent ${config.policyDir}`);
      return Promise.resolve(0);
    },
    runDemo: (args) => {
      calls.push(`demo ${args.join(" ")}`);
      return Promise.resolve(0);
    },
    openTaps: () => Promise.resolve([]),
    cleanup: () => {
      calls.push("cleanup");
      return Promise.resolve([
        { what: "maps", count: 22 },
        { what: "routes", count: 0 },
      ]);
    },
    takeover: (_, { dryRun, force, say }) => {
      calls.push(`takeover${dryRun ? " dry-run" : ""}${force ? " force" : ""}`);
      const steps = [{ what: "Removed 8 sets", count: 8, names: [..."12345678"].map((n) => `cali40s:${n}`) }];
      if (!dryRun) steps.forEach(say);
      const enforced = { by: "bpf", taps: ["tapweb1"], problems: 0 };
      return Promise.resolve({ nothing: false, steps, hindrances: [], left: [], ...(dryRun ? {} : { enforced }) });
    },
    handback: (_, { dryRun, force, wait }) => {
      calls.push(`handback ${wait}${dryRun ? " dry-run" : ""}${force ? " force" : ""}`);
      return Promise.resolve({ nothing: false, steps: [], uncovered: force || dryRun ? ["tapweb1"] : [], left: [] });
    },
    datastore: () => Promise.resolve(emptyDatastore()),
    check: () => Promise.resolve(SAME),
    repair: () => {
      calls.push("repair");
      return Promise.resolve({ by: "the agent", writes: { policy: 1 }, totalWrites: 1, failures: [] });
    },
    doctor: () => Promise.resolve({ dataplane: { name: "bpf", why: "the best that this machine has" }, findings: [] }),
    guard: () => ({
      show: () => Promise.resolve({ state: "on", detail: ["nft"] }),
      install: () => Promise.resolve(true),
      remove: () => Promise.resolve(false),
    }),
    ...overrides,
  };
  const exit = await runCli(words, context);
  if (closed.count !== opened) throw new Error("the pinned state was not closed");
  return { exit, out, err, calls };
}

/** An etcd and directories that hold nothing, and a cluster that nobody has accepted. */
function emptyDatastore(): DatastoreAccess {
  return {
    readEtcd: () => Promise.resolve(new Map()),
    readDirectory: () => Promise.resolve({ resources: new Map(), problems: [] }),
    yamlFiles: () => Promise.resolve([]),
    writeFiles: () => Promise.resolve(),
    write: () => Promise.resolve([]),
    found: () => Promise.resolve({ clusterId: "1", revision: 7n, cluster: { guid: "abc", ready: true } }),
    identity: {
      path: "/var/lib/torbie/etcd.json",
      read: () => Promise.resolve(undefined),
      write: () => Promise.resolve(),
    },
  };
}
