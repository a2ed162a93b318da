/** A host of the recorded cloud: the agent on the recorded directory, guests with the recorded taps, MACs and addresses. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentStatus } from "../../src/agent/status.js";
import { AgentProcess } from "../../src/demo/world/agent.js";
import type { Guest, GuestSpec } from "../../src/demo/world/guest.js";
import { World } from "../../src/demo/world/world.js";
import { writeRecorded, type Pair } from "./recorded.js";
import { eth, type Frame } from "./packet.js";
import { Wire } from "./wire.js";

export interface EndpointSpec {
  readonly node: string;
  readonly interfaceName: string;
  readonly mac: string;
  readonly ipNetworks: readonly string[];
  readonly ipv4Gateway?: string;
  readonly ipv6Gateway?: string;
}

/** The guest behind a recorded tap: what DHCP would give it, its pairs' addresses too. */
export function guestOf(
  name: string,
  { interfaceName, mac, ipNetworks, ipv4Gateway, ipv6Gateway }: EndpointSpec,
): GuestSpec {
  return {
    name,
    tap: interfaceName,
    mac,
    addresses: ipNetworks.map((network) => network.replace(/\/128$/, "/64").replace(/\/32$/, "/24")),
    // One subnet has no gateway, by which such a guest gets no default route. The host answers for any address.
    gateways: [ipv4Gateway ?? ipNetworks[0]?.replace(/\d+\/32$/, "254") ?? [], ipv6Gateway ?? []].flat(),
    ports: ["tcp/150", "tcp/3306", "tcp/5432", "tcp/9000"],
  };
}

let serial = 0;

export class RecordedHost {
  private wires = new Map<string, Wire>();
  private routerMac = "";
  private uplinkMac = "";

  private constructor(
    readonly hostname: string,
    readonly world: World,
    readonly agent: AgentProcess,
    private readonly directory: string,
  ) {}

  /** @param guests name by tap; every one of them is enforced when it resolves */
  static async create(
    pairs: readonly Pair[],
    hostname: string,
    guests: Readonly<Record<string, string>>,
  ): Promise<RecordedHost> {
    const directory = mkdtempSync(join(tmpdir(), "tb-recorded-"));
    writeRecorded(pairs, directory);
    const world = await World.create();
    const agent = await AgentProcess.create(world.host, { policyDir: directory, hostname });
    const host = new RecordedHost(hostname, world, agent, directory);
    try {
      const specs = pairs
        .filter(({ key }) => key.includes("/workloadendpoints/"))
        .map(({ value }) => (JSON.parse(value) as { spec: EndpointSpec }).spec)
        .filter(({ node }) => node === hostname);
      await Promise.all([
        agent.startEnforcing(Object.keys(guests).length),
        ...Object.entries(guests).map(([name, tap]) => {
          const spec = specs.find(({ interfaceName }) => interfaceName === tap);
          if (spec === undefined) throw new Error(`no recorded endpoint of ${hostname} has ${tap}`);
          return world.addGuest(guestOf(name, spec));
        }),
      ]);
      await host.open();
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  private async open(): Promise<void> {
    const mac = async (namespace: World["host"], name: string): Promise<string> =>
      (JSON.parse(await namespace.run(["ip", "-j", "link", "show", name])) as [{ address: string }])[0].address;
    this.routerMac = await mac(this.world.fabric, "down0");
    this.uplinkMac = await mac(this.world.host, "up0");
    this.wires.set("", await Wire.open(this.world.fabric, "down0"));
    for (const name of this.world.guests.keys()) this.wires.set(name, await Wire.open(this.guest(name).namespace));
  }

  guest(name: string): Guest {
    return this.world.guest(name);
  }

  wire(name: string): Wire {
    const wire = this.wires.get(name);
    if (wire === undefined) throw new Error(`no wire of ${name}`);
    return wire;
  }

  /**
   * Whether what the outside sends reaches the guest. `known`: a frame that is known to pass; when that has come the other has come before or
   * never will.
   */
  async arrives(
    name: string,
    build: (text: Buffer, frame: Frame) => Frame,
    known: (text: Buffer, frame: Frame) => Frame,
  ): Promise<boolean> {
    const [text, after] = [Buffer.from(`<recorded ${serial++}>`), Buffer.from(`<recorded ${serial++}>`)];
    const outside = eth({ from: this.routerMac, to: this.uplinkMac });
    await this.wire("").send(build(text, outside).bytes());
    await this.wire("").send(known(after, outside).bytes());
    if ((await this.wire(name).receive(({ frame }) => frame.includes(after), 3_000)) === undefined)
      throw new Error(`what is known to reach ${name} did not`);
    return this.wire(name).received.some(({ frame }) => frame.includes(text));
  }

  /** The same for what the guest sends to the outside: from its wire, to the router. */
  async leaves(
    name: string,
    build: (text: Buffer, frame: Frame) => Frame,
    known: (text: Buffer, frame: Frame) => Frame,
  ): Promise<boolean> {
    const [text, after] = [Buffer.from(`<recorded ${serial++}>`), Buffer.from(`<recorded ${serial++}>`)];
    const { mac } = this.guest(name).spec;
    const inside = eth({ from: mac, to: `fe${mac.slice(2)}` });
    await this.wire(name).send(build(text, inside).bytes());
    await this.wire(name).send(known(after, inside).bytes());
    if ((await this.wire("").receive(({ frame }) => frame.includes(after), 3_000)) === undefined)
      throw new Error(`what is known to leave ${name} did not`);
    return this.wire("").received.some(({ frame }) => frame.includes(text));
  }

  /** What the endpoint's programs have dropped, by reason. */
  async drops(name: string): Promise<Record<string, number>> {
    const shown = JSON.parse(await this.agent.torbie(["endpoint", "show", this.guest(name).spec.tap, "--json"])) as {
      dropsByReason: { reason: string; count: number }[];
    };
    return Object.fromEntries(shown.dropsByReason.map(({ reason, count }) => [reason, count]));
  }

  /** Drops of these reasons that `act` added; what guests' stacks send of their own (MLD, router solicitations) is left aside. */
  async dropsDuring(name: string, act: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await this.drops(name);
    await act();
    const after = await this.drops(name);
    return Object.fromEntries(
      Object.entries(after)
        .map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
        .filter(([reason, count]) => count > 0 && !["MULTICAST", "LINK_LOCAL"].includes(reason)),
    );
  }

  /** As `torbie status --json` prints it. */
  async status(): Promise<AgentStatus> {
    return (JSON.parse(await this.agent.torbie(["status", "--json"])) as { agent: AgentStatus }).agent;
  }

  /** The directory says something else from now on. */
  async put(pairs: readonly Pair[]): Promise<void> {
    const applied = this.agent.applied(
      ({ changes }) => changes.some(({ kind }) => kind !== "interface"),
      "the change was in force",
    );
    writeRecorded(pairs, this.directory);
    await applied;
  }

  async close(): Promise<void> {
    await Promise.all([...this.wires.values()].map((wire) => wire.close()));
    await this.agent.remove();
    await this.world.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
