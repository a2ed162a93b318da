/**
 * Random conversations in a random world: beginnings, answers, errors about them, fragments, lies, damage, changes of policy.
 * Deterministic: the same world and acts give the same frames, so a failure is replayed by its seed and shrinks by its acts.
 */
import fc from "fast-check";
import type { At } from "../../src/compile/evaluate-types.js";
import { edited, PORTS, type Family, type GeneratedWorld, type Place } from "./generate-world.js";
import { bare, eth, type Frame } from "./packet.js";
import { tapName } from "./resources.js";

export { arbWorld, type GeneratedWorld } from "./generate-world.js";

export type Act =
  | {
      readonly do: "begin";
      readonly from: number;
      readonly to: number;
      readonly family: Family;
      readonly what: number;
      readonly sport: number;
      readonly dport: number;
      readonly address: number;
      readonly flags: number;
      readonly lie: number;
      readonly ttl: number;
    }
  | { readonly do: "answer" | "again"; readonly of: number; readonly flags: number }
  | { readonly do: "error"; readonly of: number; readonly stranger: boolean }
  | { readonly do: "fragments"; readonly of: number; readonly orphan: boolean }
  | { readonly do: "damage"; readonly of: number; readonly at: number; readonly value: number }
  | { readonly do: "change"; readonly which: number };

export type GeneratedStep =
  /** `certain`: at most one thing is wrong with it, so that implementations must also agree on the reason. */
  | { readonly at: At; readonly frame: Uint8Array; readonly certain: boolean; readonly later: boolean }
  | { readonly change: GeneratedWorld };

const FLAGS = ["S", "S", "SA", "A", "A", "PA", "FA", "R", "RA"] as const;
const index = fc.nat({ max: 40 });

export function arbActs(maxLength = 30): fc.Arbitrary<Act[]> {
  const begin = fc.record({
    do: fc.constant("begin" as const),
    from: index,
    to: index,
    family: fc.constantFrom<Family>(4, 6),
    what: fc.nat({ max: 13 }),
    sport: fc.nat({ max: 3 }),
    dport: fc.nat({ max: PORTS.length - 1 }),
    address: fc.nat({ max: 2 }),
    flags: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 8 }) }),
    lie: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) }),
    ttl: fc.oneof({ weight: 9, arbitrary: fc.constant(64) }, { weight: 1, arbitrary: fc.constantFrom(0, 1, 2, 255) }),
  });
  const flags = fc.nat({ max: 8 });
  return fc.array(
    fc.oneof(
      { weight: 8, arbitrary: begin },
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constantFrom("answer" as const, "again" as const), of: index, flags }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("error" as const), of: index, stranger: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("fragments" as const), of: index, orphan: fc.boolean() }) },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant("damage" as const),
          of: index,
          at: fc.nat({ max: 80 }),
          value: fc.nat({ max: 255 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("change" as const), which: index }) },
    ),
    { minLength: 3, maxLength, size: "max" },
  );
}

/** A packet of a conversation, and what is needed to go on with it. */
interface Said {
  readonly from: Place;
  readonly to: Place;
  readonly family: Family;
  readonly src: string;
  readonly dst: string;
  readonly what: number;
  readonly sport: number;
  readonly dport: number;
  readonly flags: string;
  readonly reply: boolean;
  readonly ttl: number;
  readonly lie: number;
}

/**
 * The steps that the acts come to in this world.
 * @param ids where identifications of fragments begin: who waits for the rest of a datagram must not take one of another conversation
 */
export function playOut(world: GeneratedWorld, acts: readonly Act[], ids = 1000): GeneratedStep[] {
  const said: Said[] = [];
  const steps: GeneratedStep[] = [];
  let present = world;
  const recall = (of: number): Said | undefined => said[said.length - 1 - (of % Math.max(1, said.length))];
  const speak = (one: Said): void => {
    said.push(one);
    steps.push({ at: placeAt(one.from), frame: upper(base(one), one).bytes(), certain: one.lie === 0, later: false });
  };
  for (const act of acts) {
    if (act.do === "begin") speak(beginning(world.places, act));
    else if (act.do === "change") steps.push({ change: (present = edited(present, act.which)) });
    else {
      const former = recall(act.of);
      if (former === undefined) continue;
      if (act.do === "again") speak({ ...former, flags: FLAGS[act.flags] ?? "A" });
      else if (act.do === "answer") speak(answerTo(former, FLAGS[act.flags] ?? "A"));
      else if (act.do === "error") steps.push(errorAbout(world.places, former, act.stranger));
      else if (act.do === "fragments") steps.push(...fragmentsOf(former, act.orphan, ids + steps.length));
      else if (act.do === "damage") steps.push(damaged(former, act.at, act.value));
    }
  }
  return steps;
}

function beginning(places: readonly Place[], act: Extract<Act, { do: "begin" }>): Said {
  const local = places.filter(({ kind }) => kind === "local");
  const pick = (list: readonly Place[], i: number): Place => list[i % list.length] as Place;
  const from = pick(places, act.from);
  // Now and then it talks to itself.
  const others = act.to % 10 === 0 ? places : places.filter((place) => place !== from);
  const to = from.kind === "local" ? pick(others, act.to) : pick(local, act.to);
  const of = (place: Place): readonly string[] => (act.family === 4 ? place.v4 : place.v6);
  const address = (place: Place): string => of(place)[act.address % of(place).length] as string;
  return {
    from,
    to,
    family: act.family,
    src: act.lie === 1 ? address(pick(places, act.to + 1)) : address(from),
    dst: address(to),
    what: act.what,
    sport: 40000 + act.sport,
    dport: PORTS[act.dport] as number,
    flags: FLAGS[act.flags] ?? "S",
    reply: false,
    ttl: act.ttl,
    lie: act.lie,
  };
}

const answerTo = (one: Said, flags: string): Said => ({
  ...one,
  from: one.to,
  to: one.from,
  src: one.dst,
  dst: one.src,
  sport: one.dport,
  dport: one.sport,
  reply: !one.reply,
  flags,
  ttl: 64,
  // The answer to a lie is one as well, unless the source was a guest's own.
  lie: one.lie === 1 ? 1 : 0,
});

function placeAt(place: Place): At {
  return place.kind === "local" ? { tap: tapName(place.name) } : { uplink: "up0" };
}

/** Lies 2 to 4: about the MACs, and a VLAN tag. */
function ethernet({ from, to, lie }: Said): Frame {
  const frame = eth({ from: lie === 2 ? to.mac : from.mac, to: lie === 3 ? to.mac : from.hostMac });
  return lie === 4 && from.kind === "local" ? frame.vlan(7) : frame;
}

const base = (one: Said): Frame => network(ethernet(one), one);

function network(frame: Frame, { family, src, dst, ttl }: Pick<Said, "family" | "src" | "dst" | "ttl">): Frame {
  return family === 4 ? frame.ip4({ src, dst, ttl }) : frame.ip6({ src, dst, hop: ttl });
}

function upper(frame: Frame, { family, what, sport, dport, flags, reply }: Said): Frame {
  const ports = { sport, dport };
  const icmp = (request: number, answer: number): Frame => {
    const type = reply ? answer : request;
    // The identifier, not the ports, ties a question to its answer.
    const id = Math.max(sport, dport) === 65535 ? 1 : (Math.max(sport, dport) & 3) + 1;
    return (family === 4 ? frame.icmp({ type, id }) : frame.icmp6({ type, id })).payload(16);
  };
  switch (what) {
    case 0:
    case 1:
    case 2:
    case 3:
      return frame.tcp({ ...ports, flags }).payload(8);
    case 4:
    case 5:
    case 6:
      return frame.udp(ports).payload(24);
    case 7:
      return frame.sctp(ports).payload(8);
    case 8:
      return frame.udplite(ports).payload(8);
    case 9:
      return frame.dccp(ports).payload(8);
    case 10:
      return family === 4 ? icmp(8, 0) : icmp(128, 129);
    case 11:
      return family === 4 ? icmp(13, 14) : icmp(139, 140);
    case 12:
      return family === 4 ? icmp(9, 9) : icmp(144, 145);
    default:
      return frame.payload(new Uint8Array(24), 47);
  }
}

/** From the receiver of the packet, or from someone else who claims to have met it. */
function errorAbout(places: readonly Place[], one: Said, stranger: boolean): GeneratedStep {
  const outside = places.find(({ kind }) => kind === "outside") as Place;
  const from = stranger ? outside : one.to;
  const src = stranger ? ((one.family === 4 ? outside.v4 : outside.v6)[0] as string) : one.dst;
  const inner = upper(network(bare, one), one).bytes();
  const outer = network(eth({ from: from.mac, to: from.hostMac }), { family: one.family, src, dst: one.src, ttl: 64 });
  const frame =
    one.family === 4
      ? outer.icmp({ type: 3, code: 1 }).payload(inner)
      : outer.icmp6({ type: 1, code: 3 }).payload(inner);
  return { at: placeAt(from), frame: frame.bytes(), certain: one.lie === 0, later: false };
}

/** UDP in two pieces; an orphan lacks its first. */
function fragmentsOf(one: Said, orphan: boolean, id: number): GeneratedStep[] {
  const { family, src, dst, sport, dport } = one;
  const head = ethernet(one);
  const first =
    family === 4 ? head.ip4({ src, dst, id, mf: true }) : head.ip6({ src, dst }).fragment({ id, more: true });
  const later =
    family === 4 ? head.ip4({ src, dst, id, offset: 24 }) : head.ip6({ src, dst }).fragment({ id, offset: 24 });
  const met = { at: placeAt(one.from), certain: one.lie === 0 };
  const steps = [
    { ...met, frame: first.udp({ sport, dport }).payload(16).bytes(), later: false },
    { ...met, frame: later.payload(16, 17).bytes(), later: true },
  ];
  return orphan ? steps.slice(1) : steps;
}

function damaged(one: Said, at: number, value: number): GeneratedStep {
  const frame = upper(base(one), one).bytes();
  frame[at % frame.length] = value;
  return { at: placeAt(one.from), frame, certain: false, later: false };
}
