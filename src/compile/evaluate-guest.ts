/** What a guest's IP packet must fulfil before any rule is asked (S2, S6, S7, S9). */
import { METADATA_ADDRESS, METADATA_PORT, NAMES_PORT, type Served } from "../model/services.js";
import type { Address, LocalWorkload } from "../model/types.js";
import { kindOf, linkLocalOf } from "./evaluate-address.js";
import { TCP, UDP, type Ethernet, type Packet } from "./evaluate-frame.js";
import type { ReasonName, Tap } from "./evaluate-types.js";
import type { World } from "./evaluate-world.js";

/** "judge": routed, the rules decide. "host": a service of the host (DHCP) or what only the link concerns (MLD). */
export type GuestCheck = { readonly refused: ReasonName } | "judge" | "host";

const MLD: ReadonlySet<number> = new Set([130, 131, 132, 143]);

export interface GuestContext {
  readonly world: World;
  readonly workload: LocalWorkload;
  readonly tap: Tap;
  readonly isHostAddress: (address: Address) => boolean;
  readonly served: Served;
  /** The packet answers something that the host began (S9). */
  readonly answersHost: () => boolean;
}

type Service = "dhcp4" | "dhcp6" | "mld" | "dhcp-server" | "metadata" | "names" | "none";

export function checkGuestPacket(context: GuestContext, eth: Ethernet, packet: Packet): GuestCheck {
  const { workload } = context;
  const service = serviceOf(packet);
  const frame = frameFault(context, eth, packet, service);
  if (frame !== undefined) return { refused: frame };
  const source = sourceFault(context, eth, packet, service);
  if (source !== undefined) return { refused: source };
  if (workload.portSecurity && service === "dhcp-server") return { refused: "DHCP_SERVER" };
  if (reachesService(context, packet, service)) return "host";
  if (context.answersHost()) return "judge";
  const fault = destinationFault(packet);
  return fault === undefined ? "judge" : { refused: fault };
}

function serviceOf(packet: Packet): Service {
  const { family, protocol, ports, icmp } = packet;
  if (icmp !== undefined && family === 6 && MLD.has(icmp.type)) return "mld";
  if (ports !== undefined && ports.destination === NAMES_PORT && (protocol === UDP || protocol === TCP)) return "names";
  if (protocol === TCP && ports?.destination === METADATA_PORT && packet.destination === METADATA_ADDRESS[family])
    return "metadata";
  if (protocol !== UDP || ports === undefined) return "none";
  const [client, server] = family === 4 ? [68, 67] : [546, 547];
  if (ports.source === client && ports.destination === server) return family === 4 ? "dhcp4" : "dhcp6";
  return ports.source === server && ports.destination === client ? "dhcp-server" : "none";
}

/** To the host's MAC, or to everyone's for the few things that must be. The rest of multicast is called by its name. */
function frameFault(
  { workload, tap }: GuestContext,
  eth: Ethernet,
  packet: Packet,
  service: Service,
): ReasonName | undefined {
  if (eth.destination === tap.hostMac) return undefined;
  const broadcast = eth.destination === "ff:ff:ff:ff:ff:ff";
  const multicast = eth.destination.startsWith("33:33:") && packet.family === 6;
  if (service === "dhcp4" && broadcast) return undefined;
  if ((service === "dhcp6" || service === "mld") && multicast) return undefined;
  if (!broadcast && !multicast) return isGroupMac(eth.destination) ? "MULTICAST" : "WRONG_DESTINATION_MAC";
  const honest = !workload.portSecurity || eth.source === workload.mac;
  return honest && kindOf(packet.destination) === "multicast" ? "MULTICAST" : "WRONG_DESTINATION_MAC";
}

function isGroupMac(mac: string): boolean {
  return (parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

function sourceFault(
  { world, workload, tap }: GuestContext,
  eth: Ethernet,
  packet: Packet,
  service: Service,
): ReasonName | undefined {
  const { source, family } = packet;
  const kind = kindOf(source);
  const secure = workload.portSecurity;
  if (kind === "unspecified") {
    if (secure && eth.source !== workload.mac) return "SPOOFED_MAC";
    // RFC 3810 §5.2.13: a listener report may come before DAD has settled the address.
    return service === "dhcp4" || service === "mld" ? undefined : "UNSPECIFIED_SOURCE";
  }
  if (kind === "link-local" && family === 6) {
    if (secure && eth.source !== workload.mac) return "SPOOFED_MAC";
    return secure && source === linkLocalOf(tap.hostMac) ? "SPOOFED_ADDRESS" : undefined;
  }
  if (!secure) return kind === "unicast" || kind === "link-local" ? undefined : "MARTIAN";
  const owned = world.owned(workload, source);
  if (owned === undefined) return "SPOOFED_ADDRESS";
  if (owned.mac !== eth.source) return "SPOOFED_MAC";
  // A pair such as 0.0.0.0/0 owns them, but they are never forwarded.
  return kind === "martian" || kind === "multicast" ? "MARTIAN" : undefined;
}

function reachesService(context: GuestContext, packet: Packet, service: Service): boolean {
  const { source, destination } = packet;
  switch (service) {
    case "dhcp4":
      if (destination === "255.255.255.255") return true;
      return kindOf(source) !== "unspecified" && context.isHostAddress(destination);
    case "dhcp6":
      // RFC 8415 §18.2: from its link-local address.
      return (
        kindOf(source) === "link-local" &&
        (destination === "ff02::1:2" || destination === linkLocalOf(context.tap.hostMac))
      );
    case "mld":
      return kindOf(destination) === "multicast";
    case "metadata":
      return context.served.metadata.includes(packet.family) && packet.fragment === undefined;
    case "names":
      if (!context.served.names) return false;
      return kindOf(destination) === "link-local"
        ? destination === linkLocalOf(context.tap.hostMac)
        : kindOf(source) !== "link-local" && context.isHostAddress(destination);
    default:
      return false;
  }
}

function destinationFault({ source, destination, family }: Packet): ReasonName | undefined {
  if (kindOf(source) === "unspecified") return "UNSPECIFIED_SOURCE";
  if (family === 6 && kindOf(source) === "link-local") return "LINK_LOCAL";
  if (source === destination) return "SELF";
  switch (kindOf(destination)) {
    case "multicast":
      return "MULTICAST";
    case "martian":
    case "unspecified":
      return "MARTIAN";
    case "link-local":
      return "LINK_LOCAL";
    case "unicast":
      return undefined;
  }
}
