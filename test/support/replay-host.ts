/** A host that follows a real etcd, with taps whose guests say nothing of their own: frames are put on them, and what arrives is read. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { stop } from "../../src/demo/world/command.js";
import { tapMac } from "../../src/demo/world/guest.js";
import { Namespace } from "../../src/demo/world/namespace.js";
import { Pump } from "../../src/demo/world/pump.js";
import { World } from "../../src/demo/world/world.js";
import { Writer } from "./etcd-contents.js";
import { TestEtcd } from "./etcd.js";
import { frameOf } from "./journey-frame.js";
import type { Journey } from "./neutron.js";
import { Wire } from "./wire.js";

export interface Tap {
  /** Of the port behind it. */
  readonly id: string;
  readonly name: string;
  readonly mac: string;
}

/** A frame to send, and whether it is expected to arrive. */
export interface Shot {
  readonly journey: Journey;
  readonly expected: boolean;
}

/** Where frames from and to the outside are seen. */
const OUTSIDE = "";
/** Relay in the host's namespace, where etcd is, for those who are not there: from a socket's path to a port. */
const RELAY = `const net = require("node:net"); const [, path, port] = process.argv;
net.createServer((one) => { const two = net.connect(Number(port), "127.0.0.1");
  for (const [a, b] of [[one, two], [two, one]]) a.on("error", () => b.destroy()).pipe(b);
}).listen(path, () => console.log("ready"));`;
/** Milliseconds: how long what is expected may take, and when it is sent again. */
const PATIENCE = 5_000;
const AGAIN = 700;
const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

export class ReplayHost {
  private readonly wires = new Map<string, Wire>();
  private readonly macs = { router: "", uplink: "" };
  private serial = 0;
  /** Of every frame that was sent: what it was, and whether it may come at all. */
  private readonly sent = new Map<number, Shot>();
  private readonly arrivals = new Set<number>();
  /** Frames that came where they should not have, or did though they should not. */
  private strays: string[] = [];
  private pump: Pump | undefined;
  private relay: ChildProcess | undefined;
  private guests: Namespace | undefined;
  private writer: Writer | undefined;

  private constructor(
    readonly world: World,
    readonly etcd: TestEtcd,
    readonly agent: AgentProcess,
    private readonly taps: readonly Tap[],
  ) {}

  /** The agent does not run yet. */
  static async create(hostname: string, taps: readonly Tap[], flags: readonly string[] = []): Promise<ReplayHost> {
    const world = await World.create();
    const etcd = await TestEtcd.prepare({ within: world.host.argv([]) });
    const source = ["--datastore", "etcd", "--etcd-endpoints", etcd.url];
    const agent = await AgentProcess.create(world.host, { hostname, flags: [...source, ...flags] });
    const host = new ReplayHost(world, etcd, agent, taps);
    try {
      await etcd.up();
      await Promise.all([host.reach(), host.plug()]);
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  /** A way to etcd from outside the namespace. */
  private async reach(): Promise<void> {
    const path = join(this.etcd.directory, "relay");
    const relay = this.world.host.spawn([process.execPath, "-e", RELAY, path, String(this.etcd.port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.relay = relay;
    await once(relay.stdout as NodeJS.ReadableStream, "data");
    this.writer = new Writer(`unix:${path}`);
  }

  private async plug(): Promise<void> {
    const guests = await Namespace.create("replay");
    this.guests = guests;
    const name = (index: number): string => `g${index}`;
    await guests.ip(...this.taps.map((_, i) => `tuntap add dev ${name(i)} mode tap vnet_hdr`));
    const plugs = this.taps.map(({ name: tap, mac }, i) => ({
      ...{ tap, tapMac: tapMac(mac), guest: guests, guestInterface: name(i), guestMac: mac, mtu: 1500 },
    }));
    this.pump = await Pump.start(this.world.host, plugs);
    const address = async (namespace: Namespace, device: string): Promise<string> =>
      (JSON.parse(await namespace.run(["ip", "-j", "link", "show", device])) as [{ address: string }])[0].address;
    this.macs.router = await address(this.world.fabric, "down0");
    this.macs.uplink = await address(this.world.host, "up0");
    this.wires.set(OUTSIDE, await Wire.open(this.world.fabric, "down0"));
    await Promise.all(this.taps.map(async ({ id }, i) => this.wires.set(id, await Wire.open(guests, name(i)))));
  }

  get etcdWriter(): Writer {
    if (this.writer === undefined) throw new Error("etcd cannot be reached");
    return this.writer;
  }

  private async send(shots: readonly Shot[]): Promise<number[]> {
    const numbers: number[] = [];
    const sending = shots.map((shot) => {
      const number = this.serial++;
      numbers.push(number);
      this.sent.set(number, shot);
      const { at } = shot.journey;
      const mac = this.taps.find(({ id }) => id === at)?.mac;
      const ends =
        mac === undefined ? { from: this.macs.router, to: this.macs.uplink } : { from: mac, to: tapMac(mac) };
      return this.wire(at ?? OUTSIDE).send(frameOf(shot.journey, ends, Buffer.from(`<R${number}>`)).bytes());
    });
    await Promise.all(sending);
    return numbers;
  }

  private wire(name: string): Wire {
    const wire = this.wires.get(name);
    if (wire === undefined) throw new Error(`no wire of ${name}`);
    return wire;
  }

  /** Takes in what has come by now. */
  private collect(): void {
    for (const [name, wire] of this.wires)
      for (const { frame } of wire.received.splice(0)) {
        const start = frame.indexOf("<R");
        const shot = start < 0 ? undefined : this.sent.get(Number.parseInt(frame.toString("latin1", start + 2), 10));
        if (shot === undefined) continue;
        const number = Number.parseInt(frame.toString("latin1", start + 2), 10);
        if (name === (shot.journey.towards ?? OUTSIDE)) this.arrivals.add(number);
        // What no guest of this host has goes back to the router; a tap that is nobody's must not see it.
        else if (name !== OUTSIDE) this.strays.push(`${describe(shot)} came to the tap of ${name}`);
        else continue;
        if (!shot.expected) this.strays.push(`${describe(shot)} passed`);
      }
  }

  /**
   * Sends everything at once, then `last`, which is known to pass. What is expected and has not come is sent again for a while. Gives
   * what went wrong since the call before; what comes too late for this one is in the next.
   */
  async fire(shots: readonly Shot[], last: Shot): Promise<string[]> {
    const deadline = Date.now() + PATIENCE;
    let waiting = new Map<Shot, number>();
    for (let open: readonly Shot[] = [...shots, last]; open.length > 0; open = [...waiting.keys()]) {
      const numbers = await this.send(open.filter((shot) => shot !== last));
      if (open.includes(last)) numbers.push(...(await this.send([last])));
      const sent = [...open.filter((shot) => shot !== last), ...open.filter((shot) => shot === last)];
      waiting = new Map(sent.flatMap((shot, i) => (shot.expected ? [[shot, numbers[i] as number] as const] : [])));
      const again = Date.now() + AGAIN;
      while (waiting.size > 0 && Date.now() < again) {
        await sleep(2);
        this.collect();
        for (const [shot, number] of waiting) if (this.arrivals.has(number)) waiting.delete(shot);
      }
      if (Date.now() > deadline) break;
    }
    const wrong = [...this.strays, ...[...waiting.keys()].map((shot) => `${describe(shot)} did not pass`)];
    this.strays = [];
    return wrong;
  }

  async close(): Promise<void> {
    this.writer?.close();
    await Promise.all([...this.wires.values()].map((wire) => wire.close()));
    await this.agent.remove();
    await this.pump?.stop();
    if (this.relay) await stop(this.relay);
    await this.etcd.remove();
    await this.guests?.remove();
    await this.world.close();
  }
}

function describe({ journey: { at, towards, from, to, packet } }: Shot): string {
  const where = (port: string | undefined): string => (port === undefined ? "the uplink" : `port ${port}`);
  return `${JSON.stringify(packet)} from ${from} at ${where(at)} to ${to} at ${where(towards)}`;
}
