/** The u32 match of iptables-extensions(8) over a packet from its L3 header on. Pure. */

/** @param text "0>>22&0x3C@0>>24=3:4,11:12&&6&0xFF=1" */
export function matchesU32(text: string, bytes: Uint8Array): boolean {
  return text.split("&&").every((test) => {
    const at = test.indexOf("=");
    const value = valueOf(test.slice(0, at), bytes);
    return (
      value !== undefined &&
      test
        .slice(at + 1)
        .split(",")
        .some((range) => holds(range, value))
    );
  });
}

function holds(range: string, value: number): boolean {
  const [first = NaN, last = first] = range.split(":").map(Number);
  return value >= first && value <= last;
}

/** Undefined: the packet ends before. */
function valueOf(location: string, bytes: Uint8Array): number | undefined {
  const words = location.match(/0x[\da-f]+|\d+|>>|<<|&|@/gi) ?? [];
  let base = 0;
  let value = wordAt(bytes, Number(words[0]));
  for (let i = 1; i + 1 < words.length && value !== undefined; i += 2) {
    const operand = Number(words[i + 1]);
    switch (words[i]) {
      case ">>":
        value >>>= operand;
        break;
      case "<<":
        value = (value << operand) >>> 0;
        break;
      case "&":
        value = (value & operand) >>> 0;
        break;
      default:
        base += value;
        value = wordAt(bytes, base + operand);
    }
  }
  return value;
}

/** 32 bits in network byte order. */
function wordAt(bytes: Uint8Array, at: number): number | undefined {
  if (at + 4 > bytes.length) return undefined;
  return (
    (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0
  );
}
