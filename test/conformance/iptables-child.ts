/**
 * The iptables dataplane as an Implementation, seen from inside a network namespace of its own: the real backend with real rules, real
 * taps held by build/frames, real routes by src/links, packets written into taps and read from them. Speaks one JSON value a line with
 * test/conformance/iptables.ts, which runs outside.
 */
import { execFileSync, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Compiler } from "../../src/compile/compiler.js";
import type { DesiredDelta } from "../../src/compile/desired.js";
import type { At } from "../../src/compile/evaluate-types.js";
import { Conntrack } from "../../src/dataplane/conntrack/conntrack.js";
import { hostAddresses } from "../../src/dataplane/conntrack/host-addresses.js";
import { Revoker } from "../../src/dataplane/conntrack/revoke.js";
import { IptablesBackend } from "../../src/dataplane/iptables/backend.js";
import { bitsOf } from "../../src/dataplane/iptables/types.js";
import { Links } from "../../src/links/links.js";
import { ModelStore } from "../../src/model/store.js";
import { macAt, v6At } from "../../src/compile/evaluate-frame.js";
import { eth } from "../support/packet.js";
import { changes, type Resource } from "../support/resources.js";
import type { WireWorld } from "./kernel-child.js";

export type Request =
  | { readonly do: "load" | "update"; readonly world: WireWorld }
  /** Every connection that is tracked. */
  | { readonly do: "forget" }
  | { readonly do: "receive"; readonly at: At; readonly frame: string };

/** What was seen: frames by interface, and whether the host's stack took it. */
export interface Seen {
  readonly frames: readonly { readonly on: string; readonly frame: string }[];
  readonly host: boolean;
}

const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
const OTHER = "eth9";
const OTHER_MAC = "02:00:00:00:09:09";

class Frames {
  readonly #child = spawn("build/frames", process.argv.slice(2, 3), { stdio: ["pipe", "pipe", "inherit"] });
  readonly #lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();

  async ask(line: string): Promise<{ on: string; frame: string }[]> {
    this.#child.stdin.write(`${line}\n`);
    const frames: { on: string; frame: string }[] = [];
    for (;;) {
      const next = await this.#lines.next();
      if (next.done === true) throw new Error("build/frames has ended");
      if (next.value === "ok" || next.value === "done") return frames;
      if (next.value.startsWith("error")) throw new Error(`${line.slice(0, 60)}: ${next.value}`);
      const [on = "", frame = ""] = next.value.split(" ");
      frames.push({ on, frame });
    }
  }
}

/** Packets that the stack handed to a protocol, of both families, its own among them: what is quickly asked. */
function delivered(): number {
  const [names = "", values = ""] = readFileSync("/proc/net/snmp", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("Ip:"));
  const v4 = Number(values.split(" ")[names.split(" ").indexOf("InDelivers")]);
  const v6 = Number(/^Ip6InDelivers\s+(\d+)/m.exec(readFileSync("/proc/net/snmp6", "utf8"))?.[1]);
  return v4 + v6;
}

/**
 * Of frames that come in, what the stack takes: not what it tells itself (over lo, or looped back as a member of a group that it sends to,
 * as neighbour discovery does for a new address), at times that nobody here chooses.
 */
const WATCH = `table inet watch {
 chain input { type filter hook input priority 300; iifname "lo" return; meta pkttype 5 return; counter; }
}
table arp watch {
 chain input { type filter hook input priority 100; counter; }
}
`;

/** @param family of nft @returns packets that the stack has taken */
function taken(family: "inet" | "arp"): number {
  const listed = execFileSync("nft", ["list", "table", family, "watch"], { encoding: "utf8" });
  return Number(/counter packets (\d+)/.exec(listed)?.[1] ?? 0);
}

class Kernel {
  readonly #frames = new Frames();
  readonly #links = new Links({ uplinks: ["up0"], dataplane: "iptables" });
  readonly #conntrack = new Conntrack();
  readonly #made = new Map<string, string>();
  #socket: Socket | undefined;
  #hostToGuest = true;
  #backend: IptablesBackend | undefined;
  #revoker = this.#newRevoker();
  #store = new ModelStore("none");
  #compiler = new Compiler();
  #resources: readonly Resource[] = [];
  #started = false;
  #taken = 0;
  /** The world that stands; most cases play in the same one, and others in one that differs little. */
  #stands: WireWorld | undefined;

  #newRevoker(): Revoker {
    const { opener, other } = bitsOf(0);
    return new Revoker(this.#conntrack, { hostAddresses, stateless: { opener, other } });
  }

  async #start(world: WireWorld): Promise<void> {
    execFileSync("sysctl", [
      "-qw",
      "net.ipv4.ip_forward=1",
      "net.ipv6.conf.all.forwarding=1",
      "net.ipv6.conf.default.accept_dad=0",
    ]);
    await this.#frames.ask(`tap up0 ${world.uplinkMac} 1500`);
    await this.#frames.ask(`tap ${OTHER} ${OTHER_MAC} 1500`);
    // What comes in by the uplink and has no guest any more goes out by it again: nobody is to be told of a shorter way.
    for (const name of ["all", "up0"]) execFileSync("sysctl", ["-qw", `net.ipv4.conf.${name}.send_redirects=0`]);
    for (const address of world.hostAddresses)
      ip("addr", "add", `${address}/${address.includes(":") ? 64 : 24}`, "dev", "up0");
    for (const next of ["192.0.2.254", "2001:db8:1::fe"]) {
      ip("neigh", "replace", next, "lladdr", "02:00:00:00:00:99", "dev", "up0", "nud", "permanent");
      ip(next.includes(":") ? "-6" : "-4", "route", "add", "default", "via", next, "dev", "up0");
    }
    ip("neigh", "replace", "192.0.2.99", "lladdr", "02:00:00:00:00:98", "dev", "up0", "nud", "permanent");
    for (const prefix of world.unreachable) ip(prefix.includes(":") ? "-6" : "-4", "route", "add", "blackhole", prefix);
    execFileSync("nft", ["-f", "-"], {
      input: WATCH,
    });
    await this.#links.start(() => undefined);
    this.#started = true;
  }

  async #makeTaps(world: WireWorld): Promise<void> {
    const wanted = new Map(world.taps.map(({ name, hostMac, mtu }) => [name, `${hostMac} ${mtu}`]));
    for (const name of this.#made.keys())
      if (!wanted.has(name)) {
        await this.#frames.ask(`gone ${name}`);
        this.#made.delete(name);
      }
    let made = false;
    for (const [name, what] of wanted) {
      if (this.#made.get(name) === what) continue;
      made ||= !this.#made.has(name);
      await this.#frames.ask(`tap ${name} ${what}`);
      this.#made.set(name, what);
    }
    await this.#links.resync();
    if (made) {
      this.#listen([...wanted.keys()]);
      await this.#links.ensureSysctls();
      // The kernel reports its multicast groups once or twice.
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  /** As a DHCP server and a multicast router would: what is sent to these groups counts as taken. */
  #listen(taps: readonly string[]): void {
    this.#socket?.close();
    const socket = createSocket({ type: "udp6", ipv6Only: true });
    this.#socket = socket;
    socket.bind(547, () => {
      for (const tap of taps) for (const group of ["ff02::1:2", "ff02::16"]) socket.addMembership(group, `::%${tap}`);
    });
  }

  async load(world: WireWorld): Promise<void> {
    const { hostname, hostToGuest } = this.#stands ?? {};
    if (hostname === world.hostname && hostToGuest === world.hostToGuest) {
      await this.update(world);
      return this.forget();
    }
    this.#stands = undefined;
    if (!this.#started) await this.#start(world);
    if (this.#backend === undefined || this.#hostToGuest !== world.hostToGuest) {
      this.#hostToGuest = world.hostToGuest;
      this.#backend = await IptablesBackend.open({
        prefixes: ["tap"],
        excluded: [],
        markShift: 0,
        hostToGuest: world.hostToGuest,
        revoke: async (desired, delta) => (await this.#revoker.run(desired, delta)).deleted,
      });
    }
    this.#revoker = this.#newRevoker();
    this.#store = new ModelStore(world.hostname);
    this.#compiler = new Compiler();
    this.#store.apply({ type: "snapshot-begin" });
    this.#store.apply({ type: "changes", changes: changes(world.resources) });
    this.#store.apply({ type: "in-sync" });
    this.#resources = world.resources;
    this.#compiler.apply(this.#store.model, this.#store.takeDelta());
    await this.#makeTaps(world);
    await this.#apply(undefined);
    await this.forget();
    this.#stands = world;
  }

  async forget(): Promise<void> {
    await this.#conntrack.deleteAll(await this.#conntrack.list());
  }

  async update(world: WireWorld): Promise<void> {
    const stands = JSON.stringify(this.#stands);
    if (JSON.stringify(world) === stands) return;
    this.#stands = undefined;
    this.#store.apply({ type: "changes", changes: changes(world.resources, this.#resources) });
    this.#resources = world.resources;
    const delta = this.#compiler.apply(this.#store.model, this.#store.takeDelta());
    await this.#makeTaps(world);
    await this.#apply(delta);
    this.#stands = world;
  }

  async #apply(delta: DesiredDelta | undefined): Promise<void> {
    const report = await this.#backend?.apply(this.#compiler.desired, this.#links.interfaces(), delta);
    const routes = await this.#links.applyRoutes(this.#compiler.desired, report?.enforced ?? new Set());
    const failures = [...(report?.failures ?? []), ...routes.failures];
    if (failures.length > 0)
      throw new Error(failures.map(({ where, error }) => `${where}: ${error.message}`).join("; "));
  }

  /**
   * The host asks for addresses of a pair's prefix and link-local ones, which have no permanent neighbour: the guest says that it has them.
   * @param sent the question that was to be seen
   */
  async #answerNeighbours(
    frames: { on: string; frame: string }[],
    sent: string | undefined,
  ): Promise<{ on: string; frame: string }[]> {
    const rest: { on: string; frame: string }[] = [];
    for (const one of frames) {
      const endpoint = [...this.#compiler.desired.endpoints.values()].find((each) => each.interfaceName === one.on);
      const answer =
        endpoint === undefined || one.frame === sent
          ? undefined
          : neighbourAnswer(Buffer.from(one.frame, "hex"), endpoint.mac);
      if (answer === undefined) rest.push(one);
      else rest.push(...(await this.#frames.ask(`send ${one.on} ${answer.toString("hex")}`)));
    }
    return rest;
  }

  /** Whether frames have been taken since it was last asked. */
  #took(): boolean {
    const before = this.#taken;
    this.#taken = taken("inet");
    return this.#taken !== before;
  }

  async receive(at: At, frame: Buffer): Promise<Seen> {
    const isArp = frame.readUInt16BE(12) === 0x0806;
    const before = isArp ? taken("arp") : delivered();
    let frames = await this.#frames.ask(question(at, frame));
    const sent = "host" in at ? frame.toString("hex") : undefined;
    frames = await this.#answerNeighbours(frames, sent);
    const host = isArp ? taken("arp") !== before : delivered() !== before && this.#took();
    const rest = frames.filter(({ on, frame: seen }) => {
      const bytes = Buffer.from(seen, "hex");
      return !isNoise(bytes) && ("host" in at || !isQuestionOf(this.#made.get(on)?.split(" ")[0], bytes));
    });
    return { frames: rest, host };
  }
}

function question(at: At, frame: Buffer): string {
  if ("uplink" in at) return `send ${at.uplink} ${frame.toString("hex")}`;
  const isIp = [0x0800, 0x86dd].includes(frame.readUInt16BE(12));
  if ("host" in at)
    return isIp ? `host ${at.tap} ${frame.subarray(14).toString("hex")}` : `frame ${at.tap} ${frame.toString("hex")}`;
  if ("other" in at) return `send ${OTHER} ${beforeHop(frame).toString("hex")}`;
  return `send ${at.tap} ${frame.toString("hex")}`;
}

/** The stack forwards it: it has one hop more when it comes in, and is addressed to that interface. */
function beforeHop(frame: Buffer): Buffer {
  const out = Buffer.from(frame);
  Buffer.from(OTHER_MAC.replaceAll(":", ""), "hex").copy(out, 0);
  Buffer.from("020000000988", "hex").copy(out, 6);
  const v4 = out.readUInt16BE(12) === 0x0800;
  if (!v4 && out.readUInt16BE(12) !== 0x86dd) return out;
  const at = v4 ? 22 : 21;
  out[at] = (out[at] ?? 0) + 1;
  if (!v4) return out;
  const header = 14 + ((out[14] ?? 0) & 15) * 4;
  out.writeUInt16BE(0, 24);
  let sum = 0;
  for (let i = 14; i < header; i += 2) sum += out.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  out.writeUInt16BE(~sum & 0xffff, 24);
  return out;
}

/** What the kernel says of itself on its links: multicast groups, its own addresses, questions for neighbours. */
function isNoise(frame: Buffer): boolean {
  if (frame.readUInt16BE(12) !== 0x86dd || frame.readUInt16BE(0) !== 0x3333) return false;
  return frame[20] === 0 || (frame[20] === 58 && [133, 135].includes(frame[54] ?? 0));
}

/** The host looks for a neighbour on a tap, or whether one is still there, of a former cloud perhaps: at any time, and with its own MAC. */
function isQuestionOf(hostMac: string | undefined, frame: Buffer): boolean {
  if (macAt(frame, 6) !== hostMac) return false;
  if (frame.readUInt16BE(12) === 0x0806) return frame.readUInt16BE(20) === 1;
  return frame.readUInt16BE(12) === 0x86dd && frame[20] === 58 && frame[54] === 135;
}

/** What a guest says when it is asked for an address by the host, whatever address it is. */
function neighbourAnswer(question: Buffer, own: string): Buffer | undefined {
  const host = macAt(question, 6);
  const frame = eth({ from: own, to: host });
  if (question.readUInt16BE(12) === 0x0806 && question.readUInt16BE(20) === 1) {
    const [spa, tpa] = [28, 38].map((at) => question.subarray(at, at + 4).join("."));
    return Buffer.from(frame.arp({ op: 2, sha: own, spa: tpa ?? "", tha: host, tpa: spa ?? "" }).bytes());
  }
  if (question.readUInt16BE(12) !== 0x86dd || question[20] !== 58 || question[54] !== 135) return undefined;
  const [asker, target] = [v6At(question, 22), v6At(question, 62)];
  return Buffer.from(frame.ip6({ src: target, dst: asker, hop: 255 }).na({ target, ll: own }).bytes());
}

const kernel = new Kernel();
for await (const line of createInterface({ input: process.stdin })) {
  let answer: unknown;
  try {
    const request = JSON.parse(line) as Request;
    if (request.do === "receive")
      answer = { seen: await kernel.receive(request.at, Buffer.from(request.frame, "hex")) };
    else if (request.do === "forget") {
      await kernel.forget();
      answer = {};
    } else {
      await kernel[request.do](request.world);
      answer = {};
    }
  } catch (error) {
    answer = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
