/** Child of takeover.test.ts, inside a network namespace: takeovers that fail, are cut short, and succeed, as one JSON object. Arguments: bpffs, mode. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { decode, encode } from "../../src/abi/codec.js";
import { FlowFlag, FlowState, LocalFlag } from "../../src/abi/layout.gen.js";
import { addressKey, fromBytes, u32 } from "../../src/abi/records.js";
import { FlowAdopter } from "../../src/dataplane/bpf/adopt-flows.js";
import { queryHook } from "../../src/dataplane/bpf/attach.js";
import { BpfBackend } from "../../src/dataplane/bpf/backend.js";
import { openPinned } from "../../src/dataplane/bpf/read.js";
import { Takeover, type TakeoverReport } from "../../src/dataplane/bpf/takeover.js";
import type { Interfaces, Tap } from "../../src/dataplane/backend.js";
import type { Address, Mac } from "../../src/model/types.js";
import { endpoint, policy, rule, stateOf } from "../support/desired.js";

const [mount = "", mode = "clsact"] = process.argv.slice(2);
const bpffs = join(mount, "torbie");
const attach = mode === "tcx" ? "tcx" : "clsact";
const build = join(process.cwd(), "build");
const LIVE = 300;
const SHARED = "10.65.0.50" as Address;

const add = (name: string): Tap => {
  execFileSync("ip", ["tuntap", "add", "dev", name, "mode", "tap"]);
  const ifindex = Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"));
  return { name, ifindex, mac: `02:00:00:00:00:${ifindex.toString(16).padStart(2, "0")}` as Mac, mtu: 1500, up: true };
};
const taps = [add("tapa"), add("tapb")];
const uplink = add("up0");
const interfaces = (...more: Tap[]): Interfaces => ({
  taps: new Map([...taps, ...more].map((tap) => [tap.name, tap])),
  uplinks: [{ name: uplink.name, ifindex: uplink.ifindex }],
});
/** Ids of what is on the hooks, in order; a hook with two of ours would show both. */
const hooks = (): string =>
  [...taps, uplink]
    .flatMap(({ ifindex }) =>
      (["ingress", "egress"] as const).map((side) =>
        queryHook(ifindex, side)
          .map(({ programId }) => programId)
          .join("+"),
      ),
    )
    .join(" ");

const desired = () =>
  stateOf({
    endpoints: [
      endpoint("a", { owned: ["10.65.0.11/32", `${SHARED}/32`], set: "s" }),
      endpoint("b", { owned: ["10.65.0.12/32", `${SHARED}/32`], set: "s" }),
    ],
    policies: [
      policy("p", { ingress: [rule({ protocols: [6], ports: [{ first: 80, last: 80 }] })], egress: [rule({})] }),
    ],
    sets: { s: { ingress: [["p"]], egress: [["p"]] } },
    addresses: {},
    prefixes: {},
  });

let report: TakeoverReport | undefined;
const open = (version: string): Promise<BpfBackend> =>
  BpfBackend.open({
    pinDir: join(bpffs, version),
    objects: [join(build, "tap-modern.bpf.o"), join(build, "tap.bpf.o")],
    adoptObject: join(build, "adopt.bpf.o"),
    flows: 1024,
    attach,
    onTakeover: (told) => (report = told),
  });
const numberOf = (version: string, id: string): number => {
  const pinned = openPinned(join(bpffs, version));
  try {
    return pinned.endpoints().find((it) => it.id === id)?.number ?? 0;
  } finally {
    pinned.close();
  }
};

/** Flows of endpoint a with the world, as our programs would have made them; some expired long ago. */
async function makeFlows(backend: BpfBackend, version: string): Promise<void> {
  const adopter = await FlowAdopter.open(join(build, "adopt.bpf.o"), backend.objects.maps);
  const a = numberOf(version, "a");
  const probe = encode("flow_key", { address: Buffer.alloc(32), protocol: 6, family: 4 });
  const now = jiffies();
  for (let i = 0; i < LIVE + 20; i++) {
    const key = Buffer.from(probe);
    Buffer.from(addressKey("10.65.0.11" as Address), "latin1").copy(key, 0);
    Buffer.from(addressKey(`198.51.100.${1 + (i % 200)}` as Address), "latin1").copy(key, 16);
    key.writeUInt16LE(1000 + i, 32);
    const flow = encode("flow", {
      endpoint: [a, 0],
      state: FlowState.FLOW_ESTABLISHED,
      flags: i % 2 ? FlowFlag.FLOW_OPENER_HI | FlowFlag.FLOW_HALF_OPEN : 0,
      last_seen: i < LIVE ? now : (now - 0x60000000) >>> 0,
    });
    if (i < LIVE) adopter.put(Buffer.concat([key, flow]));
    else backend.objects.maps.get("flow")?.set(key, flow); // waits to be reclaimed
  }
  adopter.flush();
  adopter.close();
}

/** The low 32 bits, as flows are timed. */
function jiffies(): number {
  const found = /^\s*jiffies:\s+(\d+)/m.exec(readFileSync("/proc/timer_list", "latin1"))?.[1];
  if (found === undefined) throw new Error("/proc/timer_list says nothing of jiffies");
  return Number(BigInt(found) & 0xffffffffn);
}

/** What must agree, whatever happened: entries, the accounts' counts, and the pool. */
function census(backend: BpfBackend): Record<string, number> {
  const { maps } = backend.objects;
  const flows = maps.get("flow")?.dump();
  const size = maps.get("flow")?.info.valueSize ?? 1;
  const all = Array.from({ length: flows?.count ?? 0 }, (_, i) =>
    decode("flow", flows?.values.subarray(i * size, (i + 1) * size) ?? Buffer.alloc(0)),
  );
  const accounts = [1, 2, 3].map((number) =>
    decode("account", maps.get("account")?.get(fromBytes(u32(number))) ?? Buffer.alloc(0)),
  );
  const { generation } = decode("control", maps.get("control")?.get(fromBytes(u32(0))) ?? Buffer.alloc(0));
  return {
    entries: all.length,
    owned: accounts.reduce((sum, { count }) => sum + count, 0),
    used: Number(decode("pool", maps.get("pool")?.get(fromBytes(u32(0))) ?? Buffer.alloc(0)).used),
    halfOpen: accounts.reduce((sum, it) => sum + it.half_open, 0),
    halfOpenFlags: all.filter(({ flags }) => flags & FlowFlag.FLOW_HALF_OPEN).length,
    established: all.filter(({ state }) => state === FlowState.FLOW_ESTABLISHED).length,
    judgedAlready: all.filter(({ host_generation }) => host_generation === generation).length,
  };
}
const sharedBy = (backend: BpfBackend): number => {
  const value = backend.objects.maps.get("local")?.get(fromBytes(addressKey(SHARED)));
  return value === undefined ? 0 : decode("local", value).endpoint;
};
const failure = async (act: () => Promise<unknown>): Promise<string> => {
  try {
    await act();
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

const result: Record<string, unknown> = {};

// A former build, which has run for a while. The shared address went to b, who announced it last.
const former = await open("v1");
await former.apply(desired(), interfaces());
await makeFlows(former, "v1");
const local = former.objects.maps.get("local");
const entry = local?.get(fromBytes(addressKey(SHARED)));
if (entry === undefined) throw new Error("the shared address is not there");
const was = decode("local", entry);
if (!(was.flags & LocalFlag.LOCAL_SHARED)) throw new Error("it is not shared");
const toB = was.endpoint === numberOf("v1", "a") ? numberOf("v1", "b") : numberOf("v1", "a");
local?.set(fromBytes(addressKey(SHARED)), encode("local", { ...was, endpoint: toB }), "replace");
const sharedId = toB === numberOf("v1", "b") ? "b" : "a";
result["former"] = census(former);
const theirs = hooks();
await former.close();

// The new one waits for its datastore: a tap that appears is blocked, the others stay theirs.
let backend = await open("v2");
result["from"] = backend.takingOverFrom;
const late = add("tapc");
result["blocked"] = await backend.block(interfaces(late));
result["still theirs"] = hooks() === theirs;

// Its maps cannot be filled.
const policies = backend.objects.maps.get("policy");
if (policies === undefined) throw new Error("no map policy");
policies.setBatch = () => {
  throw new Error("no room");
};
result["not filled"] = await failure(() => backend.apply(desired(), interfaces()));
result["theirs after failure"] = hooks() === theirs;
await backend.close();

// Killed after the swap, before it was finished.
backend = await open("v2");
const { finish } = Takeover.prototype;
Takeover.prototype.finish = () => {
  throw new Error("killed");
};
result["cut short"] = await failure(() => backend.apply(desired(), interfaces()));
result["swapped"] = hooks() !== theirs;
result["theirs kept"] = existsSync(join(bpffs, "v1"));
await backend.close();
Takeover.prototype.finish = finish;

// The next one finishes.
backend = await open("v2");
const applied = await backend.apply(desired(), interfaces());
result["applied"] = { failures: applied.failures, enforced: applied.enforced.size };
result["report"] = report;
result["pins"] = readdirSync(bpffs).sort();
result["census"] = census(backend);
result["shared"] = sharedBy(backend) === numberOf("v2", sharedId);
result["again"] = (await backend.apply(desired(), interfaces())).totalWrites;
result["one each"] = hooks()
  .split(" ")
  .every((ids) => !ids.includes("+"));
await backend.close();

// One that says nothing of its layout: flows are judged anew, loudly, and all else is as it should be.
unlinkSync(join(bpffs, "v2", "maps", "layout"));
backend = await open("v3");
await backend.apply(desired(), interfaces());
result["unreadable"] = report;
result["empty"] = census(backend);
result["pins at last"] = readdirSync(bpffs).sort();
await backend.close();
console.log(JSON.stringify(result));
