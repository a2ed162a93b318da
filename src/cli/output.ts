/** Tables, colours and JSON. Pure. */
import { escape } from "../text.js";

export interface Style {
  readonly bold: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly dim: (text: string) => string;
}

/** Colours only on a terminal and without NO_COLOR (no-color.org: set and not empty). */
export function style(colours: boolean): Style {
  const wrap = (code: string) => (text: string) => (colours && text !== "" ? `\u001b[${code}m${text}\u001b[0m` : text);
  return { bold: wrap("1"), good: wrap("32"), bad: wrap("31"), dim: wrap("2") };
}

// eslint-disable-next-line no-control-regex -- our own colours
const COLOUR = /\u001b\[\d+m/g;

/** At most `width` characters of it are seen: colours take no room, and end with it. */
export function cut(line: string, width: number): string {
  if (line.replaceAll(COLOUR, "").length <= width) return line;
  let [kept, room, from] = ["", width, 0];
  for (const { 0: colour, index } of [...line.matchAll(COLOUR), { 0: "", index: line.length }]) {
    const text = line.slice(from, index).slice(0, room);
    room -= text.length;
    kept += text + colour;
    from = index + colour.length;
  }
  return kept;
}

/** Columns as wide as their widest cell; cells are escaped, so that a hostile name stays in its line. `tint` gets padded cells. */
export function columns(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  tint: (cell: string, column: number) => string = (cell) => cell,
): string {
  const safe = rows.map((cells) => cells.map((cell) => escape(cell)));
  const widths = header.map((name, column) =>
    safe.reduce((widest, cells) => Math.max(widest, cells[column]?.length ?? 0), name.length),
  );
  const render = (cells: readonly string[], paint: (cell: string, column: number) => string): string =>
    cells
      .map((cell, column) =>
        column === cells.length - 1
          ? paint(cell, column)
          : `${paint(cell, column)}${" ".repeat((widths[column] ?? 0) - cell.length)}`,
      )
      .join("  ")
      .trimEnd();
  return [render(header, (cell) => cell), ...safe.map((cells) => render(cells, tint)), ""].join("\n");
}

/** JSON on lines of its own; 64-bit counters become numbers where they fit exactly, else text; control characters are escaped by JSON. */
export function json(value: unknown): string {
  return `${JSON.stringify(value, plain, 2)}\n`;
}

/** One object on one line: for what is long, or goes on. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value, plain)}\n`;
}

const plain = (_key: string, part: unknown): unknown =>
  typeof part === "bigint" ? (part <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(part) : part.toString()) : part;

const UNITS = ["B", "kB", "MB", "GB", "TB"];
/** "12.3 MB". */
export function bytesText(bytes: bigint | number): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? ""}`;
}

/** "4.2 s", "3.5 min", "2.1 h". */
export function durationText(seconds: number): string {
  const size = Math.abs(seconds);
  if (size < 90) return `${seconds.toFixed(size < 10 ? 1 : 0)} s`;
  return size < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** "42.0%"; of nothing: "-". */
export const percentText = (part: number, whole: number): string =>
  whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)}%`;
