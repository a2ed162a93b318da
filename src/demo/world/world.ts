/**
 * A cloud in namespaces: one compute host, its guests behind real taps, and beyond its uplink a router with a machine
 * that is no guest.
 */
import { Guest, type GuestSpec } from "./guest.js";
import { Namespace, sweep } from "./namespace.js";

/** The host's own addresses on its uplink, the router there, and a machine of the world outside. */
export const HOST = { v4: "192.0.2.10", v6: "2001:db8:ffff::10" } as const;
export const ROUTER = { v4: "192.0.2.1", v6: "2001:db8:ffff::1" } as const;
export const OUTSIDE = { v4: "198.51.100.7", v6: "2001:db8:51::7" } as const;
export const UPLINK = "up0";

export class World {
  readonly guests = new Map<string, Guest>();

  private constructor(
    /** The compute host: taps appear here, the agent runs here. */
    readonly host: Namespace,
    /** Router and outside machine. */
    readonly fabric: Namespace,
  ) {}

  /** Also removes what processes that are dead by now left behind. */
  static async create(): Promise<World> {
    sweep();
    const [host, fabric] = await Promise.all([Namespace.create("host"), Namespace.create("fabric")]);
    const world = new World(host, fabric);
    try {
      await world.connect();
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  private async connect(): Promise<void> {
    const { host, fabric } = this;
    await host.ip(
      `link add ${UPLINK} type veth peer name down0 netns ${fabric.name}`,
      `addr add ${HOST.v4}/24 dev ${UPLINK}`,
      `addr add ${HOST.v6}/64 dev ${UPLINK} nodad`,
      `link set ${UPLINK} up`,
    );
    await fabric.ip(
      `addr add ${ROUTER.v4}/24 dev down0`,
      `addr add ${ROUTER.v6}/64 dev down0 nodad`,
      `addr add ${OUTSIDE.v4}/32 dev lo`,
      `addr add ${OUTSIDE.v6}/128 dev lo`,
      "link set down0 up",
    );
    await fabric.sysctl({ "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 });
    await host.ip(`route add 0.0.0.0/0 via ${ROUTER.v4}`, `route add ::/0 via ${ROUTER.v6}`);
  }

  async addGuest(spec: GuestSpec): Promise<Guest> {
    const guest = await Guest.create(this.host, spec);
    this.guests.set(spec.name, guest);
    return guest;
  }

  async removeGuest(name: string): Promise<void> {
    await this.guest(name).remove();
    this.guests.delete(name);
  }

  /** What BGP would tell the fabric: these prefixes are behind the host. */
  async announce(...prefixes: readonly string[]): Promise<void> {
    await this.fabric.ip(
      ...prefixes.map((prefix) => `route replace ${prefix} via ${prefix.includes(":") ? HOST.v6 : HOST.v4}`),
    );
  }

  guest(name: string): Guest {
    const guest = this.guests.get(name);
    if (guest === undefined) throw new Error(`no guest ${name} in this world`);
    return guest;
  }

  /** Everything it made is gone afterwards. */
  async close(): Promise<void> {
    await Promise.all([...this.guests.values()].map((guest) => guest.remove()));
    this.guests.clear();
    await this.fabric.remove();
    await this.host.remove();
  }
}
