/** The report: one page that needs nothing else, with uPlot (MIT) inside. Pure. */
import { exponent, median, spread, type Curve, type Figure, type Samples } from "./figures.js";
import type { Machine } from "./machine.js";
import { drawPlots } from "./report-plots.js";
import { verdictOf, type Judged } from "./targets.js";

export interface Report {
  /** ISO 8601. */
  readonly began: string;
  readonly seconds: number;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly figures: readonly Figure[];
  /** Nanoseconds a packet, the floor included, a round each. */
  readonly samples: Samples;
  readonly curves: readonly Curve[];
  readonly targets: readonly Judged[];
}

export interface Library {
  readonly script: string;
  readonly style: string;
  readonly licence: string;
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text: string): string => text.replace(/[&<>"]/g, (one) => ESCAPES[one] ?? one);
/** JSON that can stand in a script element: nothing in it ends that. */
const embedded = (value: unknown): string => JSON.stringify(value).replaceAll("<", "\\u003c");
/** A library's text in its element: the only thing that could end it is the end tag. */
const inside = (text: string): string => text.replaceAll("</", "<\\/");

const row = (cells: readonly string[], tag = "td"): string =>
  `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<table>${row(head, "th")}${rows.map((cells) => row(cells)).join("")}</table>`;

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{text-align:left;padding:.2rem .8rem;border-bottom:1px solid #ddd}
td:nth-child(2){text-align:right;font-variant-numeric:tabular-nums}.plot{margin:1.5rem 0}`;

export function renderReport(report: Report, library: Library): string {
  const { machine, figures, samples, curves, targets } = report;
  const floor = median(samples["floor"] ?? []);
  const machineText = `${machine.processor}, ${machine.cores} cores, ${machine.memoryMegabytes} MB, kernel ${machine.kernel}; load before: ${machine.load}`;
  const costs = Object.entries(samples).map(([name, values]) => [
    name,
    String(Math.round(median(values) - floor)),
    `${(spread(values) * 100).toFixed(0)} %`,
    String(values.length),
  ]);
  const grown = curves.map(({ name, grows, unit, points }) => [
    name,
    exponent(points).toFixed(3),
    points.map(({ x, y }) => `${x} ${grows}: ${Number(y.toPrecision(3))} ${unit}`).join("; "),
  ]);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Torbie: benchmark of ${escape(report.began)}</title>
<style>${inside(library.style)}
${STYLE}</style></head><body>
<h1>Torbie: what it costs</h1>
<p>${escape(report.began)}, ${report.seconds} s${report.quick ? ", a QUICK run: fewer rounds and sizes" : ""}.
${escape(machineText)}.</p>
<h2>Figures</h2>
<p>Ratios are ours to theirs, net of what injecting costs; of rates too, where more is better. The value is missing where it would mean nothing.</p>
${table(
  ["figure", "value", "unit", "against"],
  figures.map(({ name, value, unit, vs, why }) => [name, value === null ? "–" : String(value), unit, why ?? vs]),
)}
<h2>What it should be</h2>
<p>Targets, and what stands in the way where they are not reached.</p>
${table(
  ["figure", "value", "at most", "", "why"],
  targets.map((one) => [
    one.name,
    one.value === null ? "–" : String(one.value),
    String(one.atMost),
    verdictOf(one),
    one.why,
  ]),
)}
<h2>A packet</h2>
<p>Medians of interleaved rounds, net of the floor (${Number.isFinite(floor) ? Math.round(floor) : "not measured"} ns).
Spread: half of the middle half of the rounds, as a part of the median, floor included.</p>
${table(["measured", "net ns", "spread", "rounds"], costs)}
<h2>Growth</h2>
<p>The exponent b of cost = a · size^b: 0 is flat, 1 grows as the size does.</p>
${table(["curve", "exponent", "points"], grown)}
<div id="plots"></div>
<script type="application/json" id="report">${embedded({ samples, curves })}</script>
<!-- uPlot. ${escape(library.licence).replaceAll("--", "- -")} -->
<script>${inside(library.script)}</script>
<script>${inside(`(${drawPlots.toString()})(document, uPlot);`)}</script>
</body></html>
`;
}
