/** Who reaches whom: measured cells, how they read, and what differs between two rounds. Pure. */

/** "80" (a TCP port) or "ping". */
export type Service = string;

/** What got through, by family. */
export interface Cell {
  readonly v4: ReadonlySet<Service>;
  readonly v6: ReadonlySet<Service>;
}

export interface Matrix {
  readonly names: readonly string[];
  /** In the order in which cells name them. */
  readonly services: readonly Service[];
  /** By cellKey. A family that a guest lacks is told by its absence from both sets. */
  readonly cells: ReadonlyMap<string, Cell>;
}

export const cellKey = (from: string, to: string): string => JSON.stringify([from, to]);

const same = (a: ReadonlySet<Service>, b: ReadonlySet<Service>): boolean =>
  a.size === b.size && [...a].every((x) => b.has(x));

/** "80 ping", "none", and where the families differ "v4: 80 ping, v6: none". */
export function cellText(cell: Cell, services: readonly Service[]): string {
  const text = (set: ReadonlySet<Service>): string =>
    services.filter((service) => set.has(service)).join(" ") || "none";
  return same(cell.v4, cell.v6) ? text(cell.v4) : `v4: ${text(cell.v4)}, v6: ${text(cell.v6)}`;
}

/** Whether every cell is the same over IPv4 and IPv6. */
export function familiesAgree({ cells }: Matrix): boolean {
  return [...cells.values()].every(({ v4, v6 }) => same(v4, v6));
}

/** Header and rows for a table. */
export function matrixRows({ names, services, cells }: Matrix): { header: string[]; rows: string[][] } {
  const text = (from: string, to: string): string => {
    const cell = cells.get(cellKey(from, to));
    return from === to || cell === undefined ? "-" : cellText(cell, services);
  };
  return { header: ["from \\ to", ...names], rows: names.map((from) => [from, ...names.map((to) => text(from, to))]) };
}

/** "web1 -> db1: 5432 -> none" for each cell that is not what it was; of a guest that is new, "- -> 5432". */
export function matrixChanges(before: Matrix, after: Matrix): string[] {
  const services = [...new Set([...before.services, ...after.services])];
  const changes: string[] = [];
  for (const from of after.names) {
    for (const to of after.names) {
      const [was, is] = [before, after].map(({ cells }) => {
        const cell = cells.get(cellKey(from, to));
        return cell === undefined ? "-" : cellText(cell, services);
      });
      if (was !== is) changes.push(`${from} -> ${to}: ${was} -> ${is}`);
    }
  }
  return changes;
}
