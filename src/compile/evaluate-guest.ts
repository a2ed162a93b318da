/** What a guest's IP packet must fulfil before any rule is asked (S2, S6, S7, S9). */
import type { Address, LocalWorkload } from "../model/types.js";
import { kindOf, linkLocalOf } from "./evaluate-address.js";
import { UDP, type Ethernet, type Packet } from "./evaluate-frame.js";
import type { ReasonName, Tap } from "./evaluate-types.js";
import type { World } from "./evaluate-world.js";

/** "judge": routed, the rules decide. "host": link-local service of the host (DHCP, discovery, MLD). */
export type GuestCheck = { readonly refused: ReasonName } | "judge" | "host";

const MLD: ReadonlySet<number> = new Set([130, 131, 132, 143]);

export interface GuestContext {
  readonly world: World;
  readonly workload: LocalWorkload;
  readonly tap: Tap;
  readonly isHostAddress: (address: Address) => boolean;
  /** The packet answers something that the host began (S9). */
  readonly answersHost: () => boolean;
}

export function checkGuestPacket(context: GuestContext, eth: Ethernet, packet: Packet): GuestCheck {
  const { workload } = context;
  const service = serviceOf(packet);
  if (!isFrameForHost(context, eth, service)) return { refused: "WRONG_DESTINATION_MAC" };
  const source = sourceFault(context, eth, packet, service);
  if (source !== undefined) return { refused: source };
  if (workload.portSecurity && service === "dhcp-server") return { refused: "DHCP_SERVER" };
  if (reachesService(context, packet, service)) return "host";
  if (context.answersHost()) return "judge";
  const fault = destinationFault(context, packet);
  return fault === undefined ? "judge" : { refused: fault };
}

type Service = "dhcp4" | "dhcp6" | "mld" | "dhcp-server" | "none";

function serviceOf(packet: Packet): Service {
  const { family, protocol, ports, icmp } = packet;
  if (icmp !== undefined && family === 6 && MLD.has(icmp.type)) return "mld";
  if (protocol !== UDP || ports === undefined) return "none";
  const [client, server] = family === 4 ? [68, 67] : [546, 547];
  if (ports.source === client && ports.destination === server) return family === 4 ? "dhcp4" : "dhcp6";
  return ports.source === server && ports.destination === client ? "dhcp-server" : "none";
}

function isFrameForHost({ tap }: GuestContext, eth: Ethernet, service: Service): boolean {
  if (eth.destination === tap.hostMac) return true;
  if (service === "dhcp4") return eth.destination === "ff:ff:ff:ff:ff:ff";
  return (service === "dhcp6" || service === "mld") && eth.destination.startsWith("33:33:");
}

function sourceFault({ world, workload, tap }: GuestContext, eth: Ethernet, packet: Packet, service: Service): ReasonName | undefined {
  const { source, family } = packet;
  const kind = kindOf(source);
  const secure = workload.portSecurity;
  if (kind === "unspecified") {
    if (service !== "dhcp4") return "UNSPECIFIED_SOURCE";
    return secure && eth.source !== workload.mac ? "SPOOFED_MAC" : undefined;
  }
  if (kind === "link-local" && family === 6) {
    if (secure && eth.source !== workload.mac) return "SPOOFED_MAC";
    if (secure && source === linkLocalOf(tap.hostMac)) return "SPOOFED_ADDRESS";
    return undefined;
  }
  if (!secure) return kind === "unicast" || kind === "link-local" ? undefined : "MARTIAN";
  const owned = world.owned(workload, source);
  if (owned === undefined) return eth.source === workload.mac ? "SPOOFED_ADDRESS" : "SPOOFED_MAC";
  if (owned.mac !== eth.source) return "SPOOFED_MAC";
  // A pair such as 0.0.0.0/0 owns them, but they are never forwarded.
  return kind === "martian" || kind === "multicast" ? "MARTIAN" : undefined;
}

function reachesService(context: GuestContext, packet: Packet, service: Service): boolean {
  const { destination } = packet;
  switch (service) {
    case "dhcp4":
      return destination === "255.255.255.255" || context.isHostAddress(destination);
    case "dhcp6":
      return destination === "ff02::1:2" || destination === linkLocalOf(context.tap.hostMac);
    case "mld":
      return kindOf(destination) === "multicast";
    default:
      return false;
  }
}

function destinationFault({ tap }: GuestContext, packet: Packet): ReasonName | undefined {
  const { source, destination, family } = packet;
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
      return destination === linkLocalOf(tap.hostMac) ? "HOST_UNREACHABLE_TO_GUEST" : "LINK_LOCAL";
    case "unicast":
      return undefined;
  }
}
