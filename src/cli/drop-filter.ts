/** Which drops a command is about: flags to what the kernel is asked, and a predicate for the rest. Pure. */
import { ReasonNames } from "../abi/layout.gen.js";
import type { DropFilter, DroppedPacket } from "../dataplane/bpf/drop-watch.js";
import { contains, parsePrefix } from "../model/cidr.js";
import { parseProtocol } from "../model/protocols.js";
import { quote } from "../text.js";
import { UsageError, type FlagRow, type Invocation } from "./command.js";
import { oneOf } from "./count.js";
import { isHarmless } from "./endpoint.js";
import { findPort, type Port } from "./ports.js";

export const COUNTED_FLAGS: readonly FlagRow[] = [
  {
    name: "port",
    value: "PORT",
    doc: "Only what is counted at this port, or came from its tap; as for endpoint show.",
  },
  { name: "reason", value: "NAME", doc: "Only what was dropped for this reason: policy-ingress, spoofed-address, …" },
  { name: "all", doc: "ARP and ND that needs no answer too, which are no fault." },
];
export const PACKET_FLAGS: readonly FlagRow[] = [
  { name: "address", value: "ADDRESS", doc: "Only packets with this address, or one of this prefix, at either end." },
  { name: "protocol", value: "NAME", doc: "Only packets of this protocol: tcp, udp, icmp, … or a number." },
  { name: "direction", value: "WHICH", doc: "ingress (towards the port) or egress (from it)." },
];

/** Name → number. */
const REASONS: ReadonlyMap<string, number> = new Map(
  Object.entries(ReasonNames)
    .filter(([, name]) => name !== "REASON_NONE" && name !== "REASONS")
    .map(([number, name]) => [name, Number(number)]),
);
const spoken = (name: string): string => name.toLowerCase().replaceAll("_", " ");

type Flags = Pick<Invocation, "flags">;

/** Those that are asked for, by name. @throws UsageError */
export function reasonsAsked(invocation: Flags, command: string): ReadonlySet<string> {
  const names = [...REASONS.keys()];
  const said = oneOf(invocation, command, "reason", names.map(spoken));
  if (said !== undefined) return new Set(names.filter((name) => spoken(name) === said));
  return new Set(invocation.flags.has("all") ? names : names.filter((name) => !isHarmless(name)));
}

/** @throws CommandError absent, usage */
export const portAsked = ({ flags }: Flags, ports: readonly Port[]): Port | undefined =>
  flags.has("port") ? findPort(ports, flags.get("port") ?? "") : undefined;

/** What the kernel itself sorts out, so that the rate is spent on nothing else. @throws UsageError, CommandError */
export function kernelFilter(invocation: Flags, command: string, ports: readonly Port[], rate: number): DropFilter {
  const port = portAsked(invocation, ports);
  const reasons = [...reasonsAsked(invocation, command)].map((name) => REASONS.get(name) ?? 0);
  return { reasons, rate, ...(port === undefined ? {} : { port: { number: port.number, ifindex: port.ifindex } }) };
}

/** @throws UsageError */
export function packetFilter(invocation: Flags, command: string): (drop: DroppedPacket) => boolean {
  const { flags } = invocation;
  const tests: ((drop: DroppedPacket) => boolean)[] = [];
  const address = flags.get("address");
  if (address !== undefined) {
    const prefix = parsePrefix(address);
    if (prefix === undefined)
      throw new UsageError(`torbie ${command}: --address: ${quote(address, 60)} is neither an address nor a prefix`);
    tests.push(({ source, destination }) =>
      [source.address, destination.address].some((one) => one !== null && contains(prefix, one)),
    );
  }
  const protocol = flags.get("protocol");
  if (protocol !== undefined) {
    const number = parseProtocol(protocol);
    if (number === undefined)
      throw new UsageError(`torbie ${command}: --protocol: no protocol is called ${quote(protocol, 40)}`);
    tests.push((drop) => drop.protocol === number);
  }
  const direction = directionAsked(invocation, command);
  if (direction !== undefined) tests.push((drop) => drop.direction === direction);
  return (drop) => tests.every((test) => test(drop));
}

/** @throws UsageError */
export const directionAsked = (invocation: Flags, command: string): string | undefined =>
  oneOf(invocation, command, "direction", ["ingress", "egress"]);
