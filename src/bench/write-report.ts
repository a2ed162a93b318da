/** Writes what was measured to build/bench, as JSON and as a page. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inPackage } from "../root.js";
import { renderReport, type Library, type Report } from "./report.js";

export function uPlot(): Library {
  const read = (file: string): string => readFileSync(inPackage(`node_modules/uplot/${file}`), "utf8");
  return { script: read("dist/uPlot.iife.min.js"), style: read("dist/uPlot.min.css"), licence: read("LICENSE") };
}

/** @returns the files' paths */
export function writeReport(report: Report): string[] {
  const directory = inPackage("build/bench");
  mkdirSync(directory, { recursive: true });
  const [data, page] = [join(directory, "bench.json"), join(directory, "bench.html")];
  writeFileSync(data, `${JSON.stringify(report, undefined, 2)}\n`);
  writeFileSync(page, renderReport(report, uPlot()));
  return [data, page];
}
