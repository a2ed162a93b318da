/** A dropped packet in a line for people, and as an object for programs. Pure. */
import { NameKind } from "../abi/layout.gen.js";
import type { FrameEnd } from "../dataplane/bpf/drop-frame.js";
import type { DroppedPacket } from "../dataplane/bpf/drop-watch.js";
import { policyNames } from "../dataplane/bpf/policy-names.js";
import { protocolName } from "../model/protocols.js";
import { escape } from "../text.js";
import type { KernelState } from "./context.js";
import { endText } from "./flow.js";
import { ownerOf } from "./owner.js";
import { callIt, portsOf, type Port } from "./ports.js";

/** What the numbers of this host are called, and which groups a port has. */
export interface DropNames {
  readonly ports: readonly Port[];
  /** Null: it is known to nobody. */
  port(number: number): string | null;
  /** The policies that apply to it. */
  groups(number: number): readonly string[];
  /** Of an address: the port that has it. */
  owner(address: string): number;
  interface(ifindex: number): string | null;
  rule(number: number): string | null;
}

/** A set's name is cut there (bpf/abi.h, NAME_TEXT); then its rules say which policies are left. */
const CUT = 200;

export function dropNames(
  state: Pick<KernelState, "endpoints" | "policy" | "name">,
  interfaces: ReadonlyMap<number, string>,
): DropNames {
  const ports = portsOf(state.endpoints(), interfaces);
  const byNumber = new Map(ports.map((port) => [port.number, port]));
  const groups = new Map<number, readonly string[]>();
  const groupsOf = ({ number, policySet }: Port): readonly string[] => {
    const known = groups.get(policySet);
    if (known !== undefined) return known;
    const name = state.name(NameKind.NAME_POLICY_SET, policySet);
    const found = policyNames(name, (name ?? "").length < CUT ? undefined : state.policy(number));
    groups.set(policySet, found);
    return found;
  };
  const owner = ownerOf(ports);
  return {
    ports,
    port: (number) => {
      const port = byNumber.get(number);
      return number === 0 ? null : port === undefined ? `endpoint ${number} (gone)` : callIt(port);
    },
    groups: (number) => {
      const port = byNumber.get(number);
      return port === undefined || port.policySet === 0 ? [] : groupsOf(port);
    },
    owner: (address) => owner(address as Parameters<typeof owner>[0]),
    interface: (ifindex) => interfaces.get(ifindex) ?? null,
    rule: (number) => (number === 0 ? null : (state.name(NameKind.NAME_RULE, number) ?? `number ${number} (gone)`)),
  };
}

const ends = (drop: DroppedPacket, names: DropNames) => {
  const named = (end: FrameEnd) => ({
    ...end,
    name: end.address === null ? null : names.port(names.owner(end.address)),
  });
  return { source: named(drop.source), destination: named(drop.destination) };
};

/** One line of --json. */
export function dropShape(drop: DroppedPacket, names: DropNames) {
  const { time, endpoint, ifindex, protocol, rule, ...rest } = drop;
  return {
    what: "drop" as const,
    time: new Date(time).toISOString(),
    port: names.port(endpoint),
    id: names.ports.find(({ number }) => number === endpoint)?.id ?? null,
    groups: names.groups(endpoint),
    interface: names.interface(ifindex),
    ...rest,
    ...ends(drop, names),
    protocol: protocol === null ? null : protocolName(protocol),
    rule: names.rule(rule),
  };
}

/** "tcp", "icmp 8/0", "tcp fragment at 1480", "arp asks", "ethertype 0x88cc". */
export function kindText({ etherType, family, protocol, icmp, arp, fragmentOffset, vlan }: DroppedPacket): string {
  const tag = vlan === 0 ? "" : `vlan ${vlan} `;
  if (etherType === null) return `${tag}too short to be a frame`;
  if (arp !== null)
    return `${tag}arp ${arp.operation === 1 ? "asks" : arp.operation === 2 ? "answers" : arp.operation}`;
  if (family === null) return `${tag}ethertype 0x${etherType.toString(16).padStart(4, "0")}`;
  if (protocol === null) return `${tag}IPv${family}, headers unreadable`;
  const part = fragmentOffset === null ? "" : ` fragment at ${fragmentOffset}`;
  return `${tag}${protocolName(protocol)}${icmp === null ? "" : ` ${icmp.type}/${icmp.code}`}${part}`;
}

/** Where the frame itself is what was wrong, or says more than its addresses. */
const ABOUT_MACS = /MAC|ARP|_ND$|ETHERTYPE|NO_ENDPOINT|VLAN/;

export function dropLine(drop: DroppedPacket, names: DropNames): string {
  const { source, destination } = ends(drop, names);
  const where = names.port(drop.endpoint) ?? names.interface(drop.ifindex) ?? `interface ${drop.ifindex}`;
  const text = (end: FrameEnd & { readonly name: string | null }): string =>
    end.address === null ? end.mac || "?" : endText({ ...end, address: end.address });
  const groups = names.groups(drop.endpoint);
  const rule = names.rule(drop.rule);
  const more = [
    ...(ABOUT_MACS.test(drop.reason) ? [`MAC ${source.mac} to ${destination.mac}`] : []),
    ...(drop.arp === null || drop.arp.senderMac === source.mac ? [] : [`claims MAC ${drop.arp.senderMac}`]),
    ...(rule === null ? [] : [`rule ${rule}`]),
    ...(groups.length > 0 ? [`groups ${groups.join(", ")}`] : []),
  ];
  const line = `${drop.reason} ${drop.direction} ${where}: ${kindText(drop)} ${text(source)} -> ${text(destination)}`;
  return `${new Date(drop.time).toISOString().slice(11, 23)} ${escape([line, ...more].join("; "))}\n`;
}
