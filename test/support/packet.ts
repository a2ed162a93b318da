/**
 * Frames for tests, built layer by layer with right lengths and checksums unless told otherwise. Shares no code with src/, so that
 * a mistake there can't hide here.
 *
 *   eth({ from, to }).ip4({ src, dst }).tcp({ sport: 40000, dport: 80, flags: "S" }).payload(10).bytes()
 */

export const ETHERTYPE = { ip4: 0x0800, ip6: 0x86dd, arp: 0x0806, vlan: 0x8100 } as const;
export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  dccp: 33,
  routing: 43,
  fragment: 44,
  gre: 47,
  esp: 50,
  ah: 51,
  icmp6: 58,
  none: 59,
  destinationOptions: 60,
  sctp: 132,
  udplite: 136,
} as const;
export const BROADCAST = "ff:ff:ff:ff:ff:ff";

interface Context {
  /** Protocol or ethertype number of what follows, 59 (no next header) or 0 when nothing does. */
  readonly next: number;
  /** Source and destination of the nearest IP header outside, for checksums. */
  readonly pseudo?: { readonly src: Uint8Array; readonly dst: Uint8Array };
}

interface Layer {
  /** How the layer outside names this one. */
  readonly number: number;
  readonly pseudo?: NonNullable<Context["pseudo"]>;
  render(payload: Uint8Array, context: Context): Uint8Array;
}

export interface Ip4 {
  src: string;
  dst: string;
  ttl?: number;
  id?: number;
  proto?: number;
  mf?: boolean;
  df?: boolean;
  /** Bytes, a multiple of 8. */
  offset?: number;
  options?: readonly number[];
  tos?: number;
  /** Replaces the right value. */
  length?: number;
  checksum?: number;
  version?: number;
  ihl?: number;
}
export interface Ip6 {
  src: string;
  dst: string;
  hop?: number;
  next?: number;
  length?: number;
  version?: number;
}
export interface Tcp {
  sport: number;
  dport: number;
  flags?: string;
  seq?: number;
  ack?: number;
}
export interface Ports {
  sport: number;
  dport: number;
}
export interface Icmp {
  type: number;
  code?: number;
  id?: number;
  seq?: number;
}
export interface Arp {
  op: number;
  sha: string;
  spa: string;
  tha?: string;
  tpa: string;
  htype?: number;
}

/** Immutable: every method gives a new frame with one more layer inside. */
export class Frame {
  constructor(private readonly layers: readonly Layer[] = []) {}

  private with(layer: Layer): Frame {
    return new Frame([...this.layers, layer]);
  }

  eth(o: { from: string; to: string; type?: number }): Frame {
    return this.with({ number: 0, render: (p, { next }) => cat(mac(o.to), mac(o.from), be16(o.type ?? next), p) });
  }

  vlan(id: number, o: { priority?: number; tpid?: number } = {}): Frame {
    return this.with({
      number: o.tpid ?? ETHERTYPE.vlan,
      render: (p, { next }) => cat(be16(((o.priority ?? 0) << 13) | id), be16(next), p),
    });
  }

  ip4(o: Ip4): Frame {
    const [src, dst] = [address(o.src), address(o.dst)];
    const options = padded(Uint8Array.from(o.options ?? []), 4);
    const render = (p: Uint8Array, { next }: Context): Uint8Array => {
      const header = cat(
        [((o.version ?? 4) << 4) | (o.ihl ?? 5 + options.length / 4), o.tos ?? 0],
        be16(o.length ?? 20 + options.length + p.length),
        be16(o.id ?? 0),
        be16((o.df === true ? 0x4000 : 0) | (o.mf === true ? 0x2000 : 0) | ((o.offset ?? 0) / 8)),
        [o.ttl ?? 64, o.proto ?? next],
        be16(0),
        src,
        dst,
        options,
      );
      header.set(be16(o.checksum ?? checksum(header)), 10);
      return cat(header, p);
    };
    return this.with({ number: ETHERTYPE.ip4, pseudo: { src, dst }, render });
  }

  ip6(o: Ip6): Frame {
    const [src, dst] = [address(o.src), address(o.dst)];
    return this.with({
      number: ETHERTYPE.ip6,
      pseudo: { src, dst },
      render: (p, { next }) =>
        cat([(o.version ?? 6) << 4, 0, 0, 0], be16(o.length ?? p.length), [o.next ?? next, o.hop ?? 64], src, dst, p),
    });
  }

  /** Hop-by-hop or destination options: by default one PadN; a router alert as MLD needs it. */
  hopByHop(o: { routerAlert?: boolean; next?: number } = {}): Frame {
    const body = o.routerAlert === true ? [5, 2, 0, 0, 1, 0] : [1, 4, 0, 0, 0, 0];
    return this.with({ number: PROTOCOL.hopByHop, render: (p, { next }) => cat([o.next ?? next, 0], body, p) });
  }

  destinationOptions(o: { next?: number } = {}): Frame {
    return this.with({
      number: PROTOCOL.destinationOptions,
      render: (p, { next }) => cat([o.next ?? next, 0, 1, 4, 0, 0, 0, 0], p),
    });
  }

  routing(o: { left: number; type?: number; next?: number }): Frame {
    return this.with({
      number: PROTOCOL.routing,
      render: (p, { next }) => cat([o.next ?? next, 2, o.type ?? 4, o.left, 0, 0, 0, 0], new Uint8Array(16), p),
    });
  }

  fragment(o: { id: number; offset?: number; more?: boolean; next?: number }): Frame {
    return this.with({
      number: PROTOCOL.fragment,
      render: (p, { next }) =>
        cat([o.next ?? next, 0], be16((o.offset ?? 0) | (o.more === true ? 1 : 0)), be32(o.id), p),
    });
  }

  /** flags: letters of "FSRPAU". */
  tcp(o: Tcp): Frame {
    const bits = [..."FSRPAU"].reduce((sum, letter, i) => sum | ((o.flags ?? "A").includes(letter) ? 1 << i : 0), 0);
    return this.l4(PROTOCOL.tcp, 16, (p) =>
      cat(
        be16(o.sport),
        be16(o.dport),
        be32(o.seq ?? 1),
        be32(o.ack ?? 0),
        [0x50, bits],
        be16(65535),
        be16(0),
        be16(0),
        p,
      ),
    );
  }

  udp(o: Ports & { length?: number }): Frame {
    return this.l4(PROTOCOL.udp, 6, (p) =>
      cat(be16(o.sport), be16(o.dport), be16(o.length ?? 8 + p.length), be16(0), p),
    );
  }

  /** Coverage 0: the whole packet. */
  udplite(o: Ports): Frame {
    return this.l4(PROTOCOL.udplite, 6, (p) => cat(be16(o.sport), be16(o.dport), be16(0), be16(0), p));
  }

  /** Common header and an INIT-sized chunk; CRC32c as RFC 9260 appendix A. */
  sctp(o: Ports & { chunk?: number }): Frame {
    return this.with({
      number: PROTOCOL.sctp,
      render: (p) => {
        const all = cat(be16(o.sport), be16(o.dport), be32(0), be32(0), [o.chunk ?? 1, 0], be16(4 + p.length), p);
        const crc = crc32c(all);
        all.set([crc & 255, (crc >>> 8) & 255, (crc >>> 16) & 255, crc >>> 24], 8);
        return all;
      },
    });
  }

  /** A DCCP-Request (RFC 4340 §5.1) with long sequence numbers. */
  dccp(o: Ports): Frame {
    return this.l4(PROTOCOL.dccp, 6, (p) =>
      cat(be16(o.sport), be16(o.dport), [5, 0], be16(0), [1, 0], be16(0), be32(1), be32(0), p),
    );
  }

  icmp(o: Icmp): Frame {
    return this.with({
      number: PROTOCOL.icmp,
      render: (p) => {
        const all = cat([o.type, o.code ?? 0], be16(0), be16(o.id ?? 0), be16(o.seq ?? 0), p);
        all.set(be16(checksum(all)), 2);
        return all;
      },
    });
  }

  icmp6(o: Icmp): Frame {
    return this.l4(PROTOCOL.icmp6, 2, (p) => cat([o.type, o.code ?? 0], be16(0), be16(o.id ?? 0), be16(o.seq ?? 0), p));
  }

  /** `ll`: source link-layer address option. */
  ns(o: { target: string; ll?: string; code?: number }): Frame {
    return this.icmp6({ type: 135, code: o.code ?? 0 }).payload(cat(address(o.target), linkLayer(1, o.ll)));
  }

  na(o: { target: string; ll?: string; flags?: number }): Frame {
    return this.icmp6({ type: 136, id: (o.flags ?? 0x60) << 8 }).payload(cat(address(o.target), linkLayer(2, o.ll)));
  }

  rs(o: { ll?: string } = {}): Frame {
    return this.icmp6({ type: 133 }).payload(linkLayer(1, o.ll));
  }

  ra(): Frame {
    return this.icmp6({ type: 134, id: 0x4000, seq: 1800 }).payload(8);
  }

  arp(o: Arp): Frame {
    return this.with({
      number: ETHERTYPE.arp,
      render: (p) =>
        cat(
          be16(o.htype ?? 1),
          be16(0x0800),
          [6, 4],
          be16(o.op),
          mac(o.sha),
          address(o.spa),
          mac(o.tha ?? "00:00:00:00:00:00"),
          address(o.tpa),
          p,
        ),
    });
  }

  /** So many bytes, or these; `number`: what the header outside shall call them. */
  payload(content: number | Uint8Array, number: number = PROTOCOL.none): Frame {
    const bytes = typeof content === "number" ? Uint8Array.from({ length: content }, (_, i) => i & 255) : content;
    return this.with({ number, render: (p) => cat(bytes, p) });
  }

  bytes(): Uint8Array {
    let payload: Uint8Array = new Uint8Array(0);
    for (let i = this.layers.length - 1; i >= 0; i--) {
      const outside = this.layers
        .slice(0, i)
        .reverse()
        .find(({ pseudo }) => pseudo !== undefined)?.pseudo;
      const next = this.layers[i + 1]?.number ?? PROTOCOL.none;
      const layer = this.layers[i] as Layer;
      payload = layer.render(payload, { next, ...(outside === undefined ? {} : { pseudo: outside }) });
    }
    return payload;
  }

  private l4(number: number, at: number, header: (payload: Uint8Array) => Uint8Array): Frame {
    return this.with({
      number,
      render: (p, { pseudo }) => {
        const all = header(p);
        const outside =
          pseudo === undefined ? new Uint8Array(0) : cat(pseudo.src, pseudo.dst, be32(all.length), be32(number));
        const sum = checksum(cat(outside, all));
        all.set(be16(sum === 0 ? 0xffff : sum), at);
        return all;
      },
    });
  }
}

export function eth(o: { from: string; to: string; type?: number }): Frame {
  return new Frame().eth(o);
}

/** A packet without Ethernet, as it stands inside an ICMP error. */
export const bare = new Frame();

export function address(text: string): Uint8Array {
  if (!text.includes(":")) return Uint8Array.from(text.split("."), Number);
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const hex = (n: number): string => n.toString(16);
  const plain =
    v4 === null
      ? text
      : `${v4[1]}${hex(Number(v4[2]) * 256 + Number(v4[3]))}:${hex(Number(v4[4]) * 256 + Number(v4[5]))}`;
  const [head = "", tail] = plain.split("::");
  const groups = (part: string): number[] => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const [left, right] = [groups(head), groups(tail ?? "")];
  const gap = tail === undefined ? 0 : 8 - left.length - right.length;
  return cat(...[...left, ...new Array<number>(gap).fill(0), ...right].map(be16));
}

export function mac(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (octet) => parseInt(octet, 16));
}

/** RFC 1071; the field itself must be 0. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function linkLayer(type: number, ll: string | undefined): Uint8Array {
  return ll === undefined ? new Uint8Array(0) : cat([type, 1], mac(ll));
}

function padded(bytes: Uint8Array, unit: number): Uint8Array {
  return cat(bytes, new Uint8Array((unit - (bytes.length % unit)) % unit));
}

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

function be16(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 255, value & 255);
}

function be32(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

export function cat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
