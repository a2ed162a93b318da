/** A guest: a namespace with `eth0`, which a pump joins to a tap of the host, as QEMU joins virtio-net to one. */
import type { CommandOptions } from "./command.js";
import { Namespace } from "./namespace.js";
import { Probe } from "./probe.js";
import { Pump } from "./pump.js";

export interface GuestSpec {
  readonly name: string;
  /** Interface on the host, at most 15 characters. */
  readonly tap: string;
  /** The guest's, "fa:16:3e:…". */
  readonly mac: string;
  /** With the subnet's prefix length, as DHCP gives it: "10.65.0.11/24". */
  readonly addresses: readonly string[];
  /** IPv4 and IPv6 routers; the guest's default routes. */
  readonly gateways: readonly string[];
  /** What its workload answers on: "tcp/80". */
  readonly ports?: readonly string[];
  /** Default 1,500. */
  readonly mtu?: number;
  /** As a virtual machine that does not run yet: nothing comes from it by itself, since IPv6 is off. */
  readonly silent?: boolean;
  /** False: as a guest whose network card does nothing in hardware. */
  readonly offload?: boolean;
}

/** Nova's libvirt driver gives the host's side the guest's MAC with the first byte fe. */
export const tapMac = (mac: string): string => `fe${mac.slice(2)}`;
const isV6 = (address: string): boolean => address.includes(":");
const bare = (address: string): string => address.split("/")[0] ?? address;

export class Guest {
  private pump: Pump | undefined;

  private constructor(
    readonly spec: GuestSpec,
    readonly namespace: Namespace,
    private readonly host: Namespace,
    /** Answers on the ports of the specification. */
    readonly probe: Probe,
  ) {}

  static async create(host: Namespace, spec: GuestSpec): Promise<Guest> {
    const namespace = await Namespace.create(spec.name);
    // Persistent, so that the guest keeps its addresses while its tap is unplugged.
    await namespace.ip("tuntap add dev eth0 mode tap vnet_hdr");
    if (spec.silent === true) await namespace.sysctl({ "net.ipv6.conf.eth0.disable_ipv6": 1 });
    const probe = await Probe.start(namespace, spec.ports ?? []);
    const guest = new Guest(spec, namespace, host, probe);
    await guest.plug();
    await namespace.ip(
      ...spec.addresses.map((address) => `addr add ${address} dev eth0${isV6(address) ? " nodad" : ""}`),
      ...spec.gateways.map((gateway) => `route add ${isV6(gateway) ? "::/0" : "0.0.0.0/0"} via ${gateway} dev eth0`),
    );
    return guest;
  }

  /** Its first address of the family, without the prefix length. Throws when it has none. */
  address(family: 4 | 6): string {
    const found = this.spec.addresses.find((address) => isV6(address) === (family === 6));
    if (found === undefined) throw new Error(`${this.spec.name} has no IPv${family} address`);
    return bare(found);
  }

  get v4(): string {
    return this.address(4);
  }

  get v6(): string {
    return this.address(6);
  }

  run(argv: readonly string[], options?: CommandOptions): Promise<string> {
    return this.namespace.run(argv, options);
  }

  /** The tap appears, up and with a carrier. */
  async plug(): Promise<void> {
    const { tap, mac, mtu = 1500, offload = true } = this.spec;
    const ends = { tap, tapMac: tapMac(mac), guest: this.namespace, guestInterface: "eth0", guestMac: mac, mtu };
    this.pump = await Pump.start(this.host, [ends], offload);
  }

  /** Of the process that carries its frames, while it is plugged. */
  get pumpPid(): number | undefined {
    return this.pump?.pid;
  }

  /** The tap disappears, as when QEMU dies. */
  async unplug(): Promise<void> {
    await this.pump?.stop();
    this.pump = undefined;
  }

  async remove(): Promise<void> {
    await this.unplug();
    await this.probe.stop();
    await this.namespace.remove();
  }
}
