import { expect, it } from "vitest";
import { renderReport, type Report } from "../../../src/bench/report.js";
import { drawPlots, type Page } from "../../../src/bench/report-plots.js";
import { againstTargets } from "../../../src/bench/targets.js";
import { uPlot } from "../../../src/bench/write-report.js";

const report: Report = {
  began: "2026-11-29T16:00:00.000Z",
  seconds: 100,
  quick: true,
  machine: { kernel: "6.18.0", processor: "A <CPU> & more", cores: 2, memoryMegabytes: 1024, load: 0.1 },
  figures: [
    { name: "established_net_vs_limit", value: 1.25, unit: "ratio", vs: "limit" },
    { name: "maps_mb", value: null, unit: "MB", vs: "", why: "</script><script>alert(1)</script>" },
  ],
  targets: againstTargets([{ name: "established_net_vs_limit", value: 1.65, unit: "ratio", vs: "limit" }]),
  samples: { floor: [100, 100], "x</script>": [300, 300] },
  curves: [
    {
      name: "bpf_first_packet_rules",
      what: "First packet, net of the floor",
      unit: "ns",
      judge: "bpf",
      grows: "rules",
      points: [
        { x: 10, y: 1000 },
        { x: 1000, y: 1000 },
        { x: 10_000, y: -1 },
      ],
    },
  ],
};

const page = renderReport(report, uPlot());
const scripts = [...page.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map(([, text]) => text ?? "");

it("shows figures, reasons, machine and exponents, and escapes all of them", () => {
  for (const text of [
    "1.25",
    "A &lt;CPU&gt; &amp; more",
    "6.18.0",
    "0.000",
    "missed by 10 %",
    "not measured",
    "&lt;/script&gt;&lt;script&gt;alert(1)",
  ])
    expect(page).toContain(text);
  expect(page).not.toContain("<script>alert");
});

it("needs nothing from elsewhere", () => {
  expect(page).not.toMatch(/<(?:script|img|link|iframe)[^>]*\s(?:src|href)=/);
  expect(page).not.toMatch(/@import|url\(\s*['"]?http/);
  expect(page).toContain("Permission is hereby granted"); // the library's licence goes with it
  expect(scripts).toHaveLength(3);
});

it("draws what the page holds, with the library that the page holds", () => {
  const drawn: { title: string; data: readonly (readonly (number | null)[])[] }[] = [];
  const element = (text: string) => ({ textContent: text, className: "", append: () => undefined });
  const document: Page = {
    getElementById: (id) => element(id === "report" ? (scripts[0] ?? "") : ""),
    createElement: () => element(""),
  };
  class Plot {
    constructor({ title }: { title: string }, data: readonly (readonly (number | null)[])[]) {
      drawn.push({ title, data });
    }
  }
  drawPlots(document, Plot);
  expect(drawn[0]).toEqual({
    title: "First packet, net of the floor, against rules",
    data: [
      [10, 1000, 10_000],
      [1000, 1000, null],
    ],
  });
  // As in the browser: the text in the page alone.
  const before = drawn.length;
  new Function("document", "uPlot", scripts[2] ?? "")(document, Plot);
  expect(drawn.slice(before)).toEqual(drawn.slice(0, before));
  expect(new Function(`${scripts[1] ?? ""}; return typeof uPlot;`)()).toBe("function");
});
