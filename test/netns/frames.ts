/** Frames as a guest would write them, as hex: enough of IPv4, IPv6, UDP and ARP for the guard's test. */
const bytes = (text: string): number[] =>
  text.split(/[:.]/).map((part) => parseInt(part, text.includes(":") ? 16 : 10));
const hex = (parts: readonly number[]): string => Buffer.from(parts).toString("hex");
const ipv6 = (text: string): number[] => {
  const [head = "", tail = ""] = text.split("::");
  const groups = (part: string): number[] =>
    part
      .split(":")
      .filter((group) => group !== "")
      .map((group) => parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail)];
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right].flatMap((group) => [
    group >> 8,
    group & 255,
  ]);
};
const sum = (words: readonly number[]): number[] => {
  let total = 0;
  for (let i = 0; i < words.length; i += 2) total += ((words[i] ?? 0) << 8) | (words[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return [(~total >> 8) & 255, ~total & 255];
};

export const PAYLOAD = Buffer.from("torbie guard test").toString("hex");
const UDP = [0x10, 0x00, 0x10, 0x92, 0, 8 + PAYLOAD.length / 2];

export interface Ends {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly source: string;
  readonly destination: string;
}

/** UDP to port 4242 without a checksum. */
export function udp4({ sourceMac, destinationMac, source, destination }: Ends): string {
  const length = 28 + PAYLOAD.length / 2;
  const header = (checksum: number[]): number[] => [
    0x45,
    0,
    0,
    length,
    0,
    1,
    0,
    0,
    64,
    17,
    ...checksum,
    ...bytes(source),
    ...bytes(destination),
  ];
  return (
    hex([...bytes(destinationMac), ...bytes(sourceMac), 8, 0, ...header(sum(header([0, 0]))), ...UDP, 0, 0]) + PAYLOAD
  );
}

export function udp6({ sourceMac, destinationMac, source, destination }: Ends): string {
  const ends = [...ipv6(source), ...ipv6(destination)];
  const length = UDP[5] ?? 0;
  const payload = [...Buffer.from(PAYLOAD, "hex"), 0].slice(0, 2 * Math.ceil(PAYLOAD.length / 4));
  const checksum = sum([...ends, 0, length, 0, 17, ...UDP, 0, 0, ...payload]);
  return (
    hex([
      ...bytes(destinationMac),
      ...bytes(sourceMac),
      0x86,
      0xdd,
      0x60,
      0,
      0,
      0,
      0,
      length,
      17,
      64,
      ...ends,
      ...UDP,
      ...checksum,
    ]) + PAYLOAD
  );
}

export const arpRequest = ({ sourceMac, source, destination }: Ends): string =>
  hex([
    255,
    255,
    255,
    255,
    255,
    255,
    ...bytes(sourceMac),
    8,
    6,
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    1,
    ...bytes(sourceMac),
    ...bytes(source),
    0,
    0,
    0,
    0,
    0,
    0,
    ...bytes(destination),
  ]);
