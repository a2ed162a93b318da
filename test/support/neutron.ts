/**
 * What calls of Neutron's API mean for packets, by Neutron's documentation alone: nothing of etcd, Calico's model or src/ is known
 * here. `Twist`s are what the incumbent's driver is known to lose on the way into etcd (reference: networking-calico's mapping), each as a
 * change of this meaning; with all of them it is the meaning of what was written.
 */
import { admits, isGuest, type Packet, type Port, type Rule } from "./neutron-api.js";
import { contains, familyOf } from "./prefix.js";
import type { Step } from "./recorded.js";

/** `at`, `towards`: port behind whose tap it starts, or is to arrive; undefined is the world outside the host. */
export interface Journey {
  readonly at: string | undefined;
  readonly towards: string | undefined;
  readonly from: string;
  readonly to: string;
  readonly packet: Packet;
}

export type Twist =
  | "port security stays on"
  | "a CIDR pair spoils its port"
  | "a port without host is nobody"
  | "address groups are anyone"
  | "ports are always up"
  | "detached ports are left behind";

const none: ReadonlySet<Twist> = new Set();

const addressesOf = ({ fixed_ips, allowed_address_pairs }: Port): string[] =>
  [...fixed_ips, ...allowed_address_pairs].map(({ ip_address }) => ip_address);
const holds = (port: Port, address: string): boolean => addressesOf(port).some((held) => contains(held, address));
const spoilt = (port: Port, as: ReadonlySet<Twist>): boolean =>
  as.has("a CIDR pair spoils its port") && addressesOf(port).some((held) => held.includes("/"));

export class Neutron {
  private readonly ports = new Map<string, Port>();
  private readonly rules = new Map<string, Rule>();
  private readonly addressGroups = new Map<string, readonly string[]>();
  private readonly known = new Set<string>();
  /** As they were when they last had a guest: detached or deleted since. */
  private readonly left = new Map<string, Port>();
  /** Without a host, and written by a resync all the same. */
  private readonly resynced = new Set<string>();
  private readonly memory = new Map<string, readonly unknown[]>();

  /** A port of the test's own. */
  add(port: Port): void {
    this.memory.clear();
    this.ports.set(port.id, port);
    this.ensureGroups(port);
  }

  apply({ title, request, response }: Step): void {
    this.memory.clear();
    if (request.startsWith("calico-resync")) this.resync();
    const [, method, path = ""] = /^(\w+) \/v2\.0\/(\S+)/.exec(request) ?? [];
    if (method === undefined || !/HTTP 2\d\d$/.test(title)) return;
    const [kind, id = ""] = path.split("/");
    const objects = Array.isArray(response) ? (response as unknown[]) : [response];
    for (const object of objects) {
      if (kind === "ports") this.setPort(id, method === "DELETE" ? undefined : (object as Port));
      else if (kind === "security-group-rules") this.setRule(id, object as Rule | null);
      else if (kind === "security-groups" && method === "DELETE") this.dropGroup(id);
      else if (kind === "security-groups") this.setGroup(object as { id: string; security_group_rules: Rule[] });
      else if (kind === "address-groups")
        this.setAddressGroup(id, object as { id: string; addresses: string[] } | null);
    }
  }

  private setPort(id: string, port: Port | undefined): void {
    const before = this.ports.get(port?.id ?? id);
    this.resynced.delete(port?.id ?? id);
    if (before !== undefined && isGuest(before) && port !== undefined && !isGuest(port))
      this.left.set(before.id, before);
    if (port === undefined) this.ports.delete(id);
    else this.add(port);
  }

  private setRule(id: string, rule: Rule | null): void {
    if (rule === null) this.rules.delete(id);
    else this.rules.set(rule.id, rule);
  }

  private setGroup({ id, security_group_rules }: { id: string; security_group_rules: readonly Rule[] }): void {
    this.dropGroup(id);
    this.known.add(id);
    for (const rule of security_group_rules) this.rules.set(rule.id, rule);
  }

  private dropGroup(id: string): void {
    for (const rule of [...this.rules.values()]) if (rule.security_group_id === id) this.rules.delete(rule.id);
  }

  private setAddressGroup(id: string, group: { id: string; addresses: string[] } | null): void {
    if (group === null) this.addressGroups.delete(id);
    else this.addressGroups.set(group.id, group.addresses);
  }

  /** A project's default group comes with its first port: out to anyone, in from its own members. */
  private ensureGroups({ security_groups }: Port): void {
    for (const id of security_groups.filter((group) => !this.known.has(group)))
      this.setGroup({
        id,
        security_group_rules: ["IPv4", "IPv6"].flatMap((ethertype) =>
          ["ingress", "egress"].map((direction) => ({
            ...{ id: `${id} ${direction} ${ethertype}`, security_group_id: id, direction, ethertype, protocol: null },
            ...{ port_range_min: null, port_range_max: null, remote_ip_prefix: null, remote_address_group_id: null },
            remote_group_id: direction === "ingress" ? id : null,
          })),
        ),
      });
  }

  private resync(): void {
    this.left.clear();
    for (const port of this.ports.values()) if (isGuest(port)) this.resynced.add(port.id);
  }

  private all(as: ReadonlySet<Twist>): Port[] {
    const ports = [...this.ports.values()].filter(
      (port) =>
        !(as.has("a port without host is nobody") && port["binding:host_id"] === "" && !this.resynced.has(port.id)),
    );
    return as.has("detached ports are left behind") ? [...ports, ...this.left.values()] : ports;
  }

  /** Ports whose guests are on the host, or about to come. */
  private on(host: string, as: ReadonlySet<Twist>): readonly Port[] {
    return this.once(`${host} ${[...as].join()}`, () =>
      this.all(as).filter(
        (port) => isGuest(port) && [port["binding:host_id"], port["binding:profile"].migrating_to].includes(host),
      ),
    );
  }

  /** A group's members. */
  private members(group: string, as: ReadonlySet<Twist>): readonly Port[] {
    return this.once(`${group} ${[...as].join()}`, () =>
      this.all(as).filter(({ security_groups }) => security_groups.includes(group)),
    );
  }

  private rulesOf(group: string): readonly Rule[] {
    return this.once(`rules of ${group}`, () =>
      [...this.rules.values()].filter(({ security_group_id }) => security_group_id === group),
    );
  }

  /** Remembered until something is different. */
  private once<T>(key: string, make: () => readonly T[]): readonly T[] {
    let value = this.memory.get(key) as readonly T[] | undefined;
    if (value === undefined) this.memory.set(key, (value = make()));
    return value;
  }

  /** The port on this host that has the address. */
  owner(host: string, address: string): Port | undefined {
    return this.on(host, none).find((port) => holds(port, address));
  }

  port(id: string): Port | undefined {
    return this.ports.get(id);
  }

  /** Whether a packet that opens a flow is meant to arrive. */
  meant(journey: Journey, host: string, as: ReadonlySet<Twist> = none): boolean {
    const { at, towards, from, to, packet } = journey;
    const here = this.on(host, as);
    if (at === undefined && here.some((port) => holds(port, from))) return false;
    if (towards === undefined && here.some((port) => holds(port, to))) return false;
    const sender = here.find(({ id }) => id === at);
    const receiver = here.find(({ id }) => id === towards);
    if (at !== undefined && !(sender && this.lets(sender, "egress", from, to, packet, as))) return false;
    if (towards !== undefined && !(receiver && this.lets(receiver, "ingress", to, from, packet, as))) return false;
    return true;
  }

  private lets(port: Port, direction: string, own: string, remote: string, packet: Packet, as: ReadonlySet<Twist>) {
    if (spoilt(port, as)) return false;
    if (!port.admin_state_up && !as.has("ports are always up")) return false;
    if (!port.port_security_enabled && !as.has("port security stays on"))
      return direction === "egress" || holds(port, own);
    return (
      holds(port, own) &&
      port.security_groups
        .flatMap((group) => this.rulesOf(group))
        .some(
          (rule) =>
            rule.direction === direction && admits(rule, familyOf(remote), packet) && this.isRemote(rule, remote, as),
        )
    );
  }

  private isRemote(rule: Rule, remote: string, as: ReadonlySet<Twist>): boolean {
    const { remote_ip_prefix: prefix, remote_group_id: group, remote_address_group_id: addresses } = rule;
    if (prefix !== null) return contains(prefix, remote);
    if (group !== null) return this.members(group, as).some((port) => isMember(port, remote, as));
    if (addresses === null || as.has("address groups are anyone")) return true;
    return (this.addressGroups.get(addresses) ?? []).some((held) => contains(held, remote));
  }
}

/** Of a port that nobody can read as a whole the addresses that can be read are members. */
function isMember(port: Port, remote: string, as: ReadonlySet<Twist>): boolean {
  return addressesOf(port).some((held) => !(spoilt(port, as) && held.includes("/")) && contains(held, remote));
}
