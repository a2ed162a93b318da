/**
 * Where the kernel's connection tracking knows less than the programs, and iptables therefore may drop what they pass: README lists the same.
 * The other way round it is only where both ends have begun the same connection. What is remembered here is which conversations those are.
 */
import type { Outcome } from "../../src/compile/evaluate-types.js";

const TCP = 6;
const DCCP = 33;
const SCTP = 132;
const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

interface Parsed {
  readonly protocol: number;
  readonly key: string;
  readonly flags: number;
  readonly from: string;
  /** Of an ICMP error: what it is about. */
  readonly inner?: Parsed;
}

function parse(bytes: Uint8Array): Parsed | undefined {
  const v4 = (bytes[0] ?? 0) >> 4 === 4;
  const [protocol = 0, l4] = v4 ? [bytes[9], ((bytes[0] ?? 0) & 15) * 4] : [bytes[6], 40];
  if (bytes.length < l4 + 4) return undefined;
  const text = (at: number): string => Buffer.from(bytes.subarray(at, at + (v4 ? 4 : 16))).toString("hex");
  const [source, destination] = v4 ? [text(12), text(16)] : [text(8), text(24)];
  const ported = [TCP, 17, 33, SCTP, 136].includes(protocol);
  const ends = [source, destination].map((one, i) => `${one} ${ported ? u16(bytes, l4 + 2 * i) : 0}`);
  const type = bytes[l4] ?? 0;
  const isError = (protocol === 1 && [3, 4, 11, 12].includes(type)) || (protocol === 58 && type < 128);
  const inner = isError ? parse(bytes.subarray(l4 + 8)) : undefined;
  return {
    protocol,
    key: `${protocol} ${[...ends].sort().join(" ")}`,
    flags: protocol === TCP ? (bytes[l4 + 13] ?? 0) : 0,
    from: ends[0] ?? "",
    ...(inner === undefined ? {} : { inner }),
  };
}

export class Stricter {
  /** TCP conversations: who began, and whether all went as the kernel's state machine wants it. */
  readonly #tcp = new Map<string, { opener: string; state: "opened" | "up" | "irregular" }>();

  /** TCP conversations that were begun by one side and, while the kernel still tracked that, by the other. */
  readonly #exchanged = new Set<string>();
  /** Conversations of which the kernel has seen nothing but packets whose hop limit ran out. */
  readonly #ghosts = new Set<string>();
  readonly #seen = new Set<string>();
  /** By conversation: who sent its first packet that passed. */
  readonly #openers = new Map<string, string>();

  /**
   * Why iptables may drop this frame although it passes; undefined: it may not. To be asked of every frame, in order.
   * @param dropped iptables has
   * @param begins it is the first of a flow: of none, or of one that a change of policy has ended
   * @param anyStateless some group of the policy is stateless
   */
  may(
    frame: Uint8Array,
    { verdict }: Outcome,
    { dropped, begins, anyStateless }: { dropped: boolean; begins: boolean; anyStateless: boolean },
  ): string | undefined {
    const packet = parse(frame.subarray(14));
    if (packet === undefined) return undefined;
    const subject = packet.inner ?? packet;
    const ghost = this.#ghosts.has(subject.key)
      ? "of a packet that goes no further the kernel remembers nothing"
      : undefined;
    if (packet.inner === undefined) this.#note(packet, verdict, dropped);
    const passes = verdict !== "drop";
    const why =
      packet.protocol === TCP
        ? this.#segment(packet, passes, begins)
        : this.#about(subject, packet.inner !== undefined);
    return ghost ?? why ?? (anyStateless ? this.#aboutAnswer(packet.inner) : undefined);
  }

  /** Why iptables may pass this frame although the programs drop it: the connection is still the first opener's to the kernel. */
  mayPass(frame: Uint8Array): string | undefined {
    const packet = parse(frame.subarray(14));
    const exchanged = packet !== undefined && this.#exchanged.has((packet.inner ?? packet).key);
    return exchanged ? "to the kernel the connection is still the first opener's" : undefined;
  }

  #note({ key, from }: Parsed, verdict: Outcome["verdict"], dropped: boolean): void {
    if (verdict === "stack") {
      if (!this.#seen.has(key)) this.#ghosts.add(key);
    } else if (verdict !== "drop" && !dropped) {
      if (!this.#openers.has(key)) this.#openers.set(key, from);
      this.#seen.add(key);
      this.#ghosts.delete(key);
    }
  }

  /**
   * Let in without state, answered with: the programs have a flow that the answer began, the kernel one connection that is judged packet by
   * packet.
   */
  #aboutAnswer(inner: Parsed | undefined): string | undefined {
    const opener = inner === undefined ? undefined : this.#openers.get(inner.key);
    return opener !== undefined && opener !== inner?.from
      ? "what a stateless group let in has no flow of its own"
      : undefined;
  }

  #about({ protocol, key }: Parsed, error: boolean): string | undefined {
    if (protocol === DCCP) return "newer kernels know nothing of its ports";
    if (protocol === SCTP) return "the kernel follows an association by its chunks and verification tags";
    return protocol === TCP && error && this.#tcp.get(key)?.state === "irregular" ? IRREGULAR : undefined;
  }

  /**
   * The kernel begins at a SYN, which wants its SYN-ACK before all else, or in the middle, at an ACK; what comes after a FIN or RST, a
   * beginning of another kind, and a SYN into a living connection are nothing that it promises to follow.
   */
  #segment({ key, flags, from }: Parsed, passes: boolean, begins: boolean): string | undefined {
    const kind = flags & (FIN | SYN | RST | ACK);
    // What the kernel had of an ended flow has been deleted with it: it begins as one that it never saw.
    if (begins && kind !== SYN) this.#tcp.delete(key);
    const known = this.#tcp.get(key);
    if (known === undefined) {
      // Judged as a first packet by both.
      const state = kind === SYN ? "opened" : kind === ACK ? "up" : "irregular";
      if (passes) this.#tcp.set(key, { opener: from, state });
      return undefined;
    }
    const was = known.state;
    const answer = from !== known.opener;
    const expected = was === "opened" ? (answer ? kind === (SYN | ACK) : kind === SYN) : was === "up" && kind === ACK;
    if (kind === SYN && answer && passes) this.#exchanged.add(key);
    if (passes) known.state = !expected ? "irregular" : answer ? "up" : was;
    if (kind === SYN && was !== "opened" && passes) known.opener = from;
    return expected ? undefined : IRREGULAR;
  }
}

const IRREGULAR = "the kernel's state machine of TCP refuses the segment, or has forgotten the connection after an RST";
