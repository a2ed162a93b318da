/** Asks the programs: which of them the packet meets, as which frame, and what came of it on the pinned maps. */
import { ControlFlag, EndpointFlag, FlowFlag, LocalFlag } from "../abi/layout.gen.js";
import { addressKey, fromBytes, parse, readMac, readU32, record, u32 } from "../abi/records.js";
import type { Entry } from "../dataplane/bpf/explain.js";
import type { PinnedState } from "../dataplane/bpf/read.js";
import type { Walk } from "../dataplane/bpf/walk.js";
import { contains, prefixLength, prefixToAddress } from "../model/cidr.js";
import type { Served } from "../model/services.js";
import type { Address, EndpointId, Mac, Prefix } from "../model/types.js";
import { CommandError, EXIT, type Invocation } from "./command.js";
import { heldOf, verdictOfWalk, type Scene, type Sent, type Verdict } from "./explain-agreement.js";
import { frameOf, type FrameFields } from "./explain-frame.js";
import { questionOf, type Question } from "./explain-question.js";
import { leadsSomewhere } from "./explain-text.js";
import { callIt, portsOf, type Port } from "./ports.js";

export interface Answer {
  readonly question: Question;
  readonly ports: readonly Port[];
  readonly sent: Sent;
  /** What opened the flow that the kernel knows. */
  readonly before?: Sent;
  readonly verdict: Verdict;
  readonly scene: Scene;
}
export interface KernelAnswer extends Answer {
  readonly walk: Walk;
}

const ELSEWHERE = "02:00:00:00:00:01" as Mac;
/** Any interface: what is forwarded to a tap from one that is no uplink. */
const SOMEWHERE = 1;
const TCP = 6;
const SYN = 2;

/** @throws CommandError, UsageError, UnsupportedError */
export async function askKernel(
  { context, flags, config }: Pick<Invocation, "context" | "flags" | "config">,
  state: PinnedState,
  interfaces: ReadonlyMap<number, string>,
): Promise<KernelAnswer> {
  const ports = portsOf(state.endpoints(), interfaces);
  const locals = state.locals();
  const floats = state.floating();
  const hostAddresses = context.hostAddresses();
  const question = questionOf(
    { flags },
    {
      ports,
      addresses: hostAddresses,
      ownerOf: (address) => {
        const meant = floats.get(address) ?? address;
        return locals.find(({ prefix }) => prefix === meant)?.endpoint;
      },
    },
  );
  const links = await context.links();
  const uplinks = [...state.tables.entries("uplink")].map(([key]) => readU32(key));
  const linkOf = (ifindex: number) => links.find((link) => link.ifindex === ifindex);
  const uplink = uplinks.map(linkOf).find((link) => link !== undefined);
  const guest = (port: Port): { mac: Mac; hostMac: Mac } => macsOf(state, port);
  const idOf = (number: number): EndpointId | undefined =>
    (ports.find((port) => port.number === number)?.id || undefined) as EndpointId | undefined;

  /** Where a packet between these ends is met, and with which MACs. */
  const place = (from: { address: Address; port?: Port }, to: { port?: Port }, fromHost: boolean): Place => {
    const { port } = from;
    if (!fromHost && port !== undefined) {
      if (port.ifindex === 0) throw noTap(port);
      const { mac, hostMac } = guest(port);
      const own = ownMac(port, from.address) ?? mac;
      const entry = { program: "tap_ingress", ifindex: port.ifindex } as const;
      return { entry, at: { tap: port.interface }, sourceMac: own, destinationMac: hostMac };
    }
    if (!fromHost && uplink !== undefined) {
      const entry = { program: "uplink_ingress", ifindex: uplink.ifindex } as const;
      return { entry, at: { uplink: uplink.name }, sourceMac: ELSEWHERE, destinationMac: uplink.mac };
    }
    if (to.port === undefined) throw new RangeError("a packet from elsewhere to elsewhere");
    if (to.port.ifindex === 0) throw noTap(to.port);
    const { mac, hostMac } = guest(to.port);
    const tap = to.port.interface;
    return {
      entry: { program: "tap_egress", ifindex: to.port.ifindex, ...(!fromHost && { ingress: SOMEWHERE }) },
      at: fromHost ? { host: true, tap } : { other: "elsewhere", tap },
      sourceMac: hostMac,
      destinationMac: mac,
      towards: to.port.number,
    };
  };

  const placed = place(question.from, question.to, question.fromHost);
  const frame = frameOf(fieldsOf(question, placed));
  const walk = await context.explain(state.tables, placed.entry, frame);
  const opener = walk.steps.some((step) => step.step === "flow" && /^(current|stale)$/.test(step.finding))
    ? openerOf(state, question)
    : undefined;
  const portOf = (number: number): { port?: Port } => {
    const port = ports.find((one) => one.number === number);
    return port === undefined ? {} : { port };
  };
  const before = opener && {
    ...opener,
    placed: place({ address: opener.source, ...portOf(opener.from) }, portOf(opener.to), opener.host),
  };
  const { flags: flagsOfHost } = state.control();
  const route = walk.steps.find((step) => step.step === "route");
  return {
    question,
    ports,
    sent: { at: placed.at, frame },
    ...(before !== undefined && {
      before: { at: before.placed.at, frame: frameOf({ ...before, ...before.placed }) },
    }),
    walk,
    verdict: verdictOfWalk(walk, idOf, placed.towards),
    scene: {
      links,
      uplinks: uplinks.flatMap((ifindex) => linkOf(ifindex)?.name ?? []),
      hostAddresses,
      unreachable: new Set(route?.step === "route" && !leadsSomewhere(route.result) ? [question.to.address] : []),
      hostToGuest: (flagsOfHost & ControlFlag.CONTROL_HOST_TO_GUEST) !== 0,
      served: servedBy(flagsOfHost),
      announcers: announcersOf(locals, idOf),
      held: heldOf(context.readStatus(config().config.runDir)),
    },
  };
}

interface Place extends Pick<FrameFields, "sourceMac" | "destinationMac"> {
  readonly entry: Entry;
  readonly at: Sent["at"];
  /** The port whose tap's egress it meets. */
  readonly towards?: number;
}

const noTap = (port: Port): CommandError =>
  new CommandError(
    EXIT.absent,
    "NO_TAP",
    `the interface of ${port.workload || port.id} is not there: nothing comes from it, and nothing reaches it (torbie endpoint show ${callIt(port)})`,
  );

function macsOf(state: PinnedState, { number }: Port): { mac: Mac; hostMac: Mac } {
  const value = state.tables.get("endpoint", u32(number));
  const found = value === undefined ? undefined : parse("endpoint", value);
  const [mac, hostMac] = [readMac(found?.mac ?? new Uint8Array(6)), readMac(found?.host_mac ?? new Uint8Array(6))];
  if (found === undefined || (found.flags & EndpointFlag.ENDPOINT_PRESENT) === 0 || mac === undefined)
    throw new CommandError(EXIT.absent, "PORT_GONE", "the port has gone meanwhile (torbie endpoint list)");
  return { mac, hostMac: hostMac ?? ELSEWHERE };
}

/** The MAC of an allowed pair: of the longest prefix that holds the address. */
function ownMac({ sources }: Port, address: Address): Mac | undefined {
  return sources
    .filter(({ prefix }) => contains(prefix, address))
    .sort((a, b) => prefixLength(b.prefix) - prefixLength(a.prefix))[0]?.mac;
}

function fieldsOf(question: Question, { sourceMac, destinationMac }: Place): FrameFields {
  const { from, to } = question;
  return { ...question, source: from.address, destination: to.address, sourceMac, destinationMac };
}

function announcersOf(
  locals: ReturnType<PinnedState["locals"]>,
  idOf: (number: number) => EndpointId | undefined,
): ReadonlyMap<Address, EndpointId> {
  const found = new Map<Address, EndpointId>();
  for (const { prefix, endpoint, flags } of locals) {
    const id = idOf(endpoint);
    if ((flags & LocalFlag.LOCAL_SHARED) === 0 || id === undefined) continue;
    found.set((prefix.includes("/") ? prefixToAddress(prefix as Prefix) : prefix) as Address, id);
  }
  return found;
}

/** S7, as the programs have it. */
const servedBy = (flags: number): Served => ({
  metadata: [
    ...((flags & ControlFlag.CONTROL_METADATA_IPV4) !== 0 ? [4 as const] : []),
    ...((flags & ControlFlag.CONTROL_METADATA_IPV6) !== 0 ? [6 as const] : []),
  ],
  names: (flags & ControlFlag.CONTROL_NAMES) !== 0,
});

interface Opener extends Omit<FrameFields, "sourceMac" | "destinationMac"> {
  /** Endpoint numbers, 0: not of this host. */
  readonly from: number;
  readonly to: number;
  readonly host: boolean;
}

/** The first packet of the flow that this one belongs to, whichever way it goes. */
function openerOf(state: PinnedState, question: Question): Opener | undefined {
  const { family, protocol, from, to, sourcePort, destinationPort, icmp } = question;
  const [source, destination] = [addressKey(from.address), addressKey(to.address)];
  const hi = Buffer.compare(fromBytes(source), fromBytes(destination)) > 0 ? 1 : 0;
  const request = icmp === undefined ? undefined : requestOf(family, icmp.type);
  if (icmp !== undefined && request === undefined) return undefined;
  const ends = [sourcePort, destinationPort];
  const key = record("flow_key", {
    address: fromBytes((hi === 0 ? source + destination : destination + source) as typeof source),
    port:
      icmp === undefined || request === undefined
        ? hi === 0
          ? ends
          : ends.reverse()
        : [1, (request << 8) | icmp.code],
    protocol,
    family,
    asker: icmp === undefined ? 0 : 1 + (hi ^ (icmp.type === request ? 0 : 1)),
  });
  const value = state.tables.get("flow", key);
  if (value === undefined) return undefined;
  const flow = parse("flow", value);
  const openerHi = (flow.flags & FlowFlag.FLOW_OPENER_HI) !== 0 ? 1 : 0;
  const forward = openerHi === hi;
  const [opener, other] = forward ? [from.address, to.address] : [to.address, from.address];
  return {
    family,
    protocol,
    source: opener,
    destination: other,
    sourcePort: forward ? sourcePort : destinationPort,
    destinationPort: forward ? destinationPort : sourcePort,
    ...(icmp !== undefined && request !== undefined && { icmp: { type: request, code: icmp.code } }),
    tcpFlags: protocol === TCP ? SYN : 0,
    from: flow.endpoint[openerHi] ?? 0,
    to: flow.endpoint[openerHi ^ 1] ?? 0,
    host: (flow.flags & FlowFlag.FLOW_HOST) !== 0,
  };
}

/** The request that an ICMP query or its reply belongs to (RFC 792, 4443, 4620). */
function requestOf(family: 4 | 6, type: number): number | undefined {
  if (family === 6) return [128, 139].find((request) => type === request || type === request + 1);
  return type === 0 || type === 8 ? 8 : [13, 15, 17].find((request) => type === request || type === request + 1);
}
