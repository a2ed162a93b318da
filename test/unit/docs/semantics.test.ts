/** docs/semantics.md against what it speaks of: tests that exist, reasons, timeouts, sizes, and the policy that it shows. */
import { existsSync, readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { Limits } from "../../../src/abi/layout.gen.js";
import { SETTINGS } from "../../../src/config/schema.js";
import { flowShares } from "../../../src/dataplane/bpf/images-control.js";
import { REASON_SENTENCES } from "../../../src/dataplane/bpf/reasons.js";
import { CASES } from "../../conformance/cases.js";
import { PROTECT_MANAGEMENT } from "../../conformance/cases/promises.js";

const root = new URL("../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const text = read("docs/semantics.md");

/** From the heading to the next of its depth. */
function section(heading: string): string {
  const depth = /^#+/.exec(heading)?.[0] ?? "";
  const from = text.indexOf(`\n${heading}\n`);
  if (from < 0) throw new Error(`no section "${heading}"`);
  const end = text.indexOf(`\n${depth} `, from + heading.length);
  return text.slice(from, end < 0 ? undefined : end);
}

/** Cells of the table rows in a text, without its head. */
function rows(of: string): string[][] {
  return of
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(1)
    .map((line) =>
      line
        .slice(2, -2)
        .split(" | ")
        .map((cell) => cell.trim()),
    );
}

const table = (head: string): string[][] => {
  const from = text.indexOf(`\n${head}\n`);
  if (from < 0) throw new Error(`no table "${head}"`);
  return rows(text.slice(from, text.indexOf("\n\n", from)));
};

const number = (cell: string | undefined): number => Number((cell ?? "").replaceAll(",", ""));

interface Reference {
  /** A clause of the conformance table or a file. */
  readonly where: string;
  readonly title: string;
}

const REFERENCE = /`(?:conformance ([SD]\d)|(test\/[\w./-]+\.test\.ts)) "([^"]+)"`/g;
const referencesIn = (of: string): Reference[] =>
  [...of.matchAll(REFERENCE)].map(([, clause, file, title]) => ({ where: clause ?? file ?? "", title: title ?? "" }));
const references = referencesIn(text);

/** First arguments of it(), test(), describe() and their .each()(…) in a test's source. */
function titlesOf(path: string): ReadonlySet<string> {
  const titles = new Set<string>();
  const rootName = (node: ts.Expression): string => {
    if (ts.isIdentifier(node)) return node.text;
    return ts.isCallExpression(node) || ts.isPropertyAccessExpression(node) ? rootName(node.expression) : "";
  };
  const visit = (node: ts.Node): void => {
    const [title] = ts.isCallExpression(node) ? node.arguments : [];
    if (ts.isCallExpression(node) && title !== undefined && ts.isStringLiteralLike(title))
      if (["it", "test", "describe"].includes(rootName(node.expression))) titles.add(title.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest));
  return titles;
}

describe("what docs/semantics.md names", () => {
  const cases = new Set(CASES.map(({ clause, name }) => `${clause} ${name}`));

  it("are cases of the table", () => {
    const named = references.filter(({ where }) => /^[SD]\d$/.test(where));
    expect(named.length).toBeGreaterThan(80);
    const missing = named.filter(({ where, title }) =>
      ["", " (v4)"].every((family) => !cases.has(`${where} ${title}${family}`)),
    );
    expect(missing).toEqual([]);
  });

  it("are tests in the files", () => {
    const named = references.filter(({ where }) => where.startsWith("test/"));
    const files = [...new Set(named.map(({ where }) => where))];
    expect(files.filter((file) => !existsSync(new URL(file, root)))).toEqual([]);
    const titles = new Map(files.map((file) => [file, titlesOf(file)]));
    expect(named.filter(({ where, title }) => titles.get(where)?.has(title) !== true)).toEqual([]);
  });

  it("are all written so that they are looked up here", () => {
    const quoted = [...text.matchAll(/`(?:conformance|test\/)[^`]*"[^`]*`/g)].map(([all]) => all);
    expect(quoted.filter((one) => one !== '`conformance S5 "…"`' && referencesIn(one).length !== 1)).toEqual([]);
  });
});

describe("each promise", () => {
  const promises = section("## Promises");

  it("names the test that holds it", () => {
    const items = text.split("\n").filter((line) => line.startsWith("- ") && !line.startsWith("- ["));
    expect(items.length).toBeGreaterThan(80);
    expect(items.filter((item) => referencesIn(item).length === 0)).toEqual([]);
  });

  it("is an item of its own: S1 to S9 and D3 to D7, and no sentence between", () => {
    const headings = [...promises.matchAll(/^### ([SD]\d)\. /gm)].map(([, id]) => id);
    expect(headings).toEqual(["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "D3", "D4", "D5", "D6", "D7"]);
    const loose = promises.split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("- "));
    expect(loose).toEqual([]);
  });
});

describe("its tables", () => {
  it("hold every reason with its sentence, and no other", () => {
    const said = rows(section("## Every reason for a drop"));
    expect(Object.fromEntries(said)).toEqual(REASON_SENTENCES);
    expect(said.length).toBe(Object.keys(REASON_SENTENCES).length);
  });

  it("hold every timeout with its default", () => {
    const wanted = Object.entries(SETTINGS)
      .filter(([key]) => key.startsWith("timeout"))
      .map(([key, { fallback, doc }]) => [
        doc
          .slice(doc.indexOf(": ") + 2, -1)
          .replace(/^a /, "A ")
          .replace(/^any /, "Any "),
        `\`${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}\``,
        `${String(fallback)} s`,
      ]);
    expect(table("| Flow | Setting | Default |")).toEqual(wanted);
  });

  it("hold the sizes of bpf/maps.h, and what a port has of the flows", () => {
    const sizes = new Map(
      [...read("bpf/maps.h").matchAll(/^(?:GROWING_)?MAP\((\w+), .*, (\w+)\);$/gm)].map(([, name, size]) => [
        name ?? "",
        Number(size) || (Limits as unknown as Record<string, number>)[size ?? ""],
      ]),
    );
    for (const [name, size] of table("| Table | Entries | Of what |"))
      expect([name, number(size)]).toEqual([name, sizes.get((name ?? "").replaceAll("`", ""))]);
    const flows = table("| Of the flow table | With the defaults |").map(([, said]) => said ?? "");
    const most = SETTINGS.flows.fallback as number;
    expect(number(flows[0])).toBe(most);
    expect(number(/[\d,]+$/.exec(flows[1] ?? "")?.[0])).toBe(flowShares(most, 1).port_limit);
    expect(number(/at least ([\d,]+)/.exec(flows[2] ?? "")?.[1])).toBe(flowShares(most, 1e6).guaranteed);
    expect(number(/at most ([\d,]+)/.exec(flows[2] ?? "")?.[1])).toBe(flowShares(most, 1).guaranteed);
  });

  it("tell how many tiers a port may have beside its profiles", () => {
    expect(text).toContain(`at most ${Limits.MAX_PLANES - 1} tiers`);
  });
});

it("the policy that it shows is the one that is tested", () => {
  const yaml = /```yaml\n([\s\S]*?)```/.exec(section("## What flat routing does not protect"))?.[1];
  expect(parse(yaml ?? "")).toEqual(PROTECT_MANAGEMENT.object);
});
