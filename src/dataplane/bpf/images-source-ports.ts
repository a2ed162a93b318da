/**
 * Source ports in a policy. A packet's source port is first mapped to one number, its source class, and rules that name source ports are
 * written under every class that satisfies them; so a lookup stays one probe whatever ranges the rules use. Pure.
 */
import { portPrefixes, type PortPrefix } from "../../compile/ranges.js";
import type { PortRange } from "../../model/types.js";

export interface SourceClasses {
  /** Disjoint port prefixes of each class. */
  readonly prefixes: readonly { readonly number: number; readonly prefix: PortPrefix }[];
  /** Numbers of the classes that lie in a rule's source ports. */
  numbersOf(ports: readonly PortRange[]): readonly number[];
}

const textOf = (ports: readonly PortRange[]): string => ports.map(({ first, last }) => `${first}-${last}`).join(",");
const holds = (ports: readonly PortRange[], port: number): boolean =>
  ports.some(({ first, last }) => first <= port && port <= last);

/**
 * Partitions 0..65535 by which of the rules' source port lists hold a port. Two intervals held by the same lists are one class; numbers are
 * 1.. in order of the first port, so that the same rules give the same numbers.
 */
export function sourceClasses(lists: readonly (readonly PortRange[])[]): SourceClasses {
  const distinct = new Map(lists.map((ports) => [textOf(ports), ports]));
  const edges = [...new Set([...distinct.values()].flat().flatMap(({ first, last }) => [first, last + 1]))].sort(
    (a, b) => a - b,
  );
  const numbers = new Map<string, number>();
  const members = new Map<string, number[]>([...distinct.keys()].map((text) => [text, []]));
  const prefixes: { number: number; prefix: PortPrefix }[] = [];
  edges.forEach((first, i) => {
    const last = (edges[i + 1] ?? first) - 1;
    if (last < first) return;
    const within = [...distinct].filter(([, ports]) => holds(ports, first)).map(([text]) => text);
    if (within.length === 0) return;
    const identity = within.join(";");
    let number = numbers.get(identity);
    if (number === undefined) {
      number = numbers.size + 1;
      numbers.set(identity, number);
      for (const text of within) members.get(text)?.push(number);
    }
    for (const prefix of portPrefixes({ first, last })) prefixes.push({ number, prefix });
  });
  return { prefixes, numbersOf: (ports) => members.get(textOf(ports)) ?? [] };
}
