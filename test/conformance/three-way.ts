/** What the evaluator's outcome of one step must look like from outside, on real taps and the host's own stack (iptables-child.ts). */
import type { At, Outcome } from "../../src/compile/evaluate-types.js";
import { tapName } from "../support/resources.js";
import type { Seen } from "./iptables-child.js";

export type Fragment = "first" | "later" | "none";

/** Of a frame, whatever else is wrong with it. */
export function fragmentOf(frame: Uint8Array): Fragment {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  if (type === 0x0800) {
    const bits = ((frame[20] ?? 0) << 8) | (frame[21] ?? 0);
    if ((bits & 0x1fff) !== 0) return "later";
    return (bits & 0x2000) !== 0 ? "first" : "none";
  }
  if (type !== 0x86dd || frame[20] !== 44) return "none";
  const bits = ((frame[56] ?? 0) << 8) | (frame[57] ?? 0);
  if ((bits & 0xfff8) !== 0) return "later";
  return (bits & 1) !== 0 ? "first" : "none";
}

const hex = (frame: Uint8Array): string => Buffer.from(frame).toString("hex");
const place = (at: At): string => ("uplink" in at ? at.uplink : at.tap);
/** The host's stack tells the sender why it does not pass his packet on (RFC 792 types 3, 11 and 12, RFC 4443 types 1, 3 and 4). */
const isRefusal = (one: string): boolean =>
  one.slice(24, 28) === "0800"
    ? one.slice(46, 48) === "01" && ["03", "0b", "0c"].includes(one.slice(68, 70))
    : one.slice(40, 42) === "3a" && ["01", "03", "04"].includes(one.slice(108, 110));
/** That the time of a packet ran out (RFC 792 type 11, RFC 4443 type 3). */
const isTimeExceeded = (one: string): boolean =>
  one.slice(24, 28) === "0800"
    ? one.slice(46, 48) === "01" && one.slice(68, 70) === "0b"
    : one.slice(40, 42) === "3a" && one.slice(108, 110) === "03";

/** From "…-<endpoint>" of an endpoint's id. */
const nameOf = (id: string): string => id.split("-").at(-1) ?? id;

/**
 * The kernel's connection tracking judges a datagram when all of its fragments are there, the programs each as it comes: what becomes of all
 * of them must be the same.
 */
export class Fragments {
  #first: Outcome | undefined;

  whole(frame: Uint8Array, wanted: Outcome, seen: Seen, otherwise: () => string | undefined): string | undefined {
    const fragment = fragmentOf(frame);
    if (fragment === "none") return otherwise();
    const first = this.#first;
    this.#first = fragment === "first" ? wanted : undefined;
    if (fragment === "first" || wanted.verdict === "host") return undefined;
    if (wanted.verdict === "stack" && wanted.why === "routed") return otherwise();
    const passes = wanted.verdict !== "drop" && first !== undefined && first.verdict !== "drop";
    const where = !passes ? "nobody" : wanted.verdict === "deliver" ? tapName(nameOf(wanted.to)) : "up0";
    const places = [...new Set(seen.frames.map(({ on }) => on))].join(" and ") || "nobody";
    return places === where ? undefined : `iptables: the fragments went to ${places}, not to ${where}`;
  }
}

export const HOST_TOOK_IT = ", and the host took it";

/** Whether its hop limit ends here: the kernel looks at that before any rule, whatever is wrong with the packet. */
function isExpired(frame: Uint8Array): boolean {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  return type === 0x0800 ? (frame[22] ?? 0) <= 1 : type === 0x86dd && (frame[21] ?? 0) <= 1;
}

/** The source of an IP frame, or the destination, as hex. */
function addressOf(one: string, which: "source" | "destination"): string {
  const v4 = one.slice(24, 28) === "0800";
  const [from, length] = v4 ? [26, 4] : [22, 16];
  const at = (which === "source" ? from : from + length) * 2;
  return one.slice(at, at + length * 2);
}

/** A frame without what is behind its IP packet: the kernel cuts that off, a redirect takes it along. */
function unpadded(frame: Uint8Array): string {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  const at = type === 0x0800 ? 16 : 18;
  const length = ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
  return hex(frame.subarray(0, 14 + length + (type === 0x0800 ? 0 : 40)));
}

/**
 * What is different, in words; undefined: nothing is.
 * @param sent the frame that was sent
 * @param owned whether its source is a single address of a guest of this host
 */
export function difference(at: At, sent: Uint8Array, owned: boolean, outcome: Outcome, seen: Seen): string | undefined {
  const got = seen.frames.map(({ on, frame }) => `${on} ${frame}`);
  const say = (wanted: string): string =>
    `iptables: wanted ${wanted}, but saw ${got.length === 0 ? "nothing" : got.join(", ")}${seen.host ? HOST_TOOK_IT : ""}`;
  switch (outcome.verdict) {
    case "deliver": {
      const wanted = `${tapName(nameOf(outcome.to))} ${unpadded(outcome.frame)}`;
      return got.length === 1 && got[0] === wanted ? undefined : say(wanted);
    }
    case "forward": {
      const [only] = seen.frames;
      const wanted = unpadded(outcome.frame).slice(28);
      const same = seen.frames.length === 1 && only?.on === "up0" && only.frame.slice(28) === wanted;
      return same ? undefined : say(`up0 … ${wanted}`);
    }
    case "reply":
      return got.length === 1 && got[0] === `${place(at)} ${hex(outcome.frame)}` ? undefined : say(hex(outcome.frame));
    case "stack":
      // The tap that the routes lead to has the last word.
      if (outcome.why === "routed")
        return seen.frames.length <= 1 && seen.frames.every(({ on }) => on.startsWith("tap") && on !== place(at))
          ? undefined
          : say("one other tap, or nobody");
      if (outcome.why !== "hop-limit") return seen.frames.length > 0 ? undefined : say("an answer of the stack");
      // Some messages the kernel never answers, router discovery of ICMP among them. Who sends in another's name has him told.
      return seen.frames.length <= 1 && seen.frames.every(({ frame }) => isTimeExceeded(frame))
        ? undefined
        : say("time exceeded");
    case "host":
      // From an uplink it is none of our business: all that counts is that no guest gets it.
      if ("uplink" in at)
        return seen.frames.some(({ on }) => on.startsWith("tap")) ? say("no guest to get it") : undefined;
      return seen.host ? undefined : say("the host to take it");
    case "drop": {
      // The stack says what is wrong with a packet, or that there is no way, before rules could drop it; only its sender hears of it. And
      // who has a shared address may hear what another sends to it from itself, or in whose name a guest without port security sent.
      const expired = isExpired(sent);
      const others = seen.frames.filter(
        ({ on, frame }) =>
          !(isRefusal(frame) && on === place(at)) &&
          !(expired && isTimeExceeded(frame) && addressOf(frame, "destination") === addressOf(hex(sent), "source")),
      );
      // Rules know the sender's own address only where it is a guest's, by itself (README).
      const toSelf = outcome.reason === "SELF" && others.every(({ on }) => !owned || on.startsWith("tap"));
      return others.length === 0 || toSelf
        ? seen.host && others.length === seen.frames.length && !("uplink" in at)
          ? say("nothing")
          : undefined
        : say("nothing");
    }
  }
}
