/** What the kernel says about links, routes and neighbours: the type that this stage works on. */
import type { Address, Family, Mac, Prefix } from "../model/types.js";

export interface Link {
  readonly ifindex: number;
  readonly name: string;
  /** All zero where the device has no Ethernet address (lo, tun in IP mode). */
  readonly mac: Mac;
  readonly mtu: number;
  /** Switched on (IFF_UP): the kernel drops its IPv4 routes, without telling, when this ends. */
  readonly adminUp: boolean;
  /** Switched on (IFF_UP) and able to carry packets (IFF_RUNNING: carrier, operational state up or unknown). */
  readonly up: boolean;
  /** IFLA_INFO_KIND: "tun", "veth", "bridge", "openvswitch", "vlan", "bond" …; "" for a physical device. */
  readonly kind: string;
  /** ifindex of the bridge, OVS datapath, bond or VRF that it belongs to; 0: none. */
  readonly master: number;
  /** As they were when the kernel told of the link, but for those of a family that it does not have. */
  readonly settings: LinkSettings;
}

/** Of what is below /proc/sys/net/FAMILY/conf/NAME: "ipv4/forwarding" → 0. */
export type LinkSettings = Readonly<Record<string, number>>;

export interface Route {
  readonly family: Family;
  readonly table: number;
  /** rtm_protocol: who installed it. */
  readonly protocol: number;
  readonly prefix: Prefix;
  readonly metric: number;
  readonly tos: number;
  /** ifindexes it leaves by, gateways or not. */
  readonly links: readonly number[];
  /** Those of `links` behind a gateway, with the gateway's address where it is of any family. */
  readonly gateways: readonly { readonly ifindex: number; readonly address: Address }[];
}

export interface Neighbour {
  readonly family: Family;
  readonly ifindex: number;
  readonly address: Address;
  readonly mac: Mac;
  /** NUD_* bits. */
  readonly state: number;
  /** NDA_PROTOCOL: who installed it, 0 unknown (Linux 5.2). */
  readonly protocol: number;
}

/** A route through a tap that we want or have. */
export interface TapRoute {
  readonly family: Family;
  readonly prefix: Prefix;
  readonly metric: number;
  readonly ifindex: number;
}

export interface TapNeighbour {
  readonly family: Family;
  readonly address: Address;
  readonly ifindex: number;
  readonly mac: Mac;
}

export const routeKey = (route: { readonly prefix: Prefix; readonly metric: number }): string =>
  `${route.prefix} metric ${route.metric}`;
export const neighbourKey = (entry: { readonly address: Address; readonly ifindex: number }): string =>
  `${entry.address} at ${entry.ifindex}`;

/** Someone put a filter on a tc hook of an interface, or took one off, or the qdisc that holds them. */
export interface HookChange {
  readonly ifindex: number;
  /** Absent: the qdisc went, or all filters of a direction. */
  readonly filter?: { readonly priority: number; readonly handle: number; readonly gone: boolean };
}
