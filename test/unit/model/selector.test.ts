import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  allOf,
  evaluate,
  inNamespace,
  parseNamespaceSelector,
  parseSelector,
  requirement,
  SelectorError,
} from "../../../src/model/selector.js";

const labels = (object: Record<string, string>): ReadonlyMap<string, string> => new Map(Object.entries(object));
const matches = (text: string, object: Record<string, string>): boolean =>
  evaluate(parseSelector(text), labels(object));

describe("grammar and meaning", () => {
  test.each<[string, Record<string, string>, boolean]>([
    ["", {}, true],
    ["  ", {}, true],
    ["all()", {}, true],
    ["!all()", { a: "b" }, false],
    ["has(a)", { a: "" }, true],
    ["has( a )", { b: "" }, false],
    ["!has(a)", {}, true],
    ["!!has(a)", { a: "1" }, true],
    ["a == 'b'", { a: "b" }, true],
    ["a=='b'", { a: "c" }, false],
    ["a == 'b'", {}, false],
    ['a == "it\'s"', { a: "it's" }, true],
    ["a == 'say \"x\"'", { a: 'say "x"' }, true],
    ["a != 'b'", {}, true],
    ["a != 'b'", { a: "b" }, false],
    ["a in {'b', \"c\"}", { a: "c" }, true],
    ["a in{'b',}", { a: "b" }, true],
    ["a in {}", { a: "b" }, false],
    ["a not in {'b'}", {}, true],
    ["a not in {'b','c'}", { a: "c" }, false],
    ["a not in {}", {}, true],
    ["a contains 'ell'", { a: "hello" }, true],
    ["a contains 'x'", {}, false],
    ["a starts with 'he'", { a: "hello" }, true],
    ["a startswith 'lo'", { a: "hello" }, false],
    ["a ends with 'lo'", { a: "hello" }, true],
    ["a ends with ''", { a: "" }, true],
    ["a ends with ''", {}, false],
    ["a == '1' || b == '2' && c == '3'", { a: "1" }, true],
    ["(a == '1' || b == '2') && c == '3'", { a: "1" }, false],
    ["!(a == '1' && b == '2')", { a: "1" }, true],
    ["!a == '1'", {}, true],
    [
      "has(sg.projectcalico.org/openstack-00beeec6-4108-4e13-8dea-a15bbe1324ab)",
      { "sg.projectcalico.org/openstack-00beeec6-4108-4e13-8dea-a15bbe1324ab": "" },
      true,
    ],
    ["in == 'x' && has == 'y' && not not in {'z'}", { in: "x", has: "y" }, true],
    ["a == 'b'\n  && has(c)", { a: "b", c: "" }, true],
    ["has(__proto__)", {}, false],
    ["constructor == 'x'", {}, false],
    ["a == '$(id)\n\0'", { a: "$(id)\n\0" }, true],
  ])("%j on %j: %s", (text, object, expected) => {
    expect(matches(text, object)).toBe(expected);
  });

  test.each([
    "a",
    "a =",
    "a = 'b'",
    "a == b",
    "a == 'b",
    "a == 'b' &&",
    "&& a == 'b'",
    "a == 'b' & has(c)",
    "a == 'b' | has(c)",
    "(has(a)",
    "has(a))",
    "has()",
    "has(a",
    "all(",
    "has (a)",
    "a in 'b'",
    "a in {'b' 'c'}",
    "a in {'b'",
    "a in {,}",
    "a starts 'b'",
    "a not 'b'",
    "!",
    "a ! 'b'",
    "a == 'b' has(c)",
    "é == 'x'",
    "global()",
    "a == 'x' || !global()",
    "'a' == 'b'",
  ])("%j is refused", (text) => {
    expect(() => parseSelector(text)).toThrow(SelectorError);
  });

  test("says where, with the text quoted", () => {
    expect(() => parseSelector("has(a) && \n\u0007")).toThrow('at character 12, found "\\u0007"');
  });

  test("hostile nesting and length are problems, not overflows", () => {
    expect(() => parseSelector("(".repeat(100_000))).toThrow(SelectorError);
    expect(() => parseSelector(`${"(".repeat(65)}all()${")".repeat(65)}`)).toThrow("nested");
    expect(() => parseSelector(`${"!(".repeat(65)}all()${")".repeat(65)}`)).toThrow("nested");
    expect(() => parseSelector("a == 'x' || ".repeat(30_000))).toThrow("characters");
    expect(parseSelector(`${"!".repeat(100_001)}has(a)`).text).toBe("!has(a)");
    const wide = Array.from({ length: 10_000 }, (_, i) => `a == '${i}'`).join(" || ");
    expect(evaluate(parseSelector(wide), labels({ a: "9999" }))).toBe(true);
    const product = Array.from(
      { length: 40 },
      () => `(${Array.from({ length: 40 }, (_, i) => `a == '${i}'`).join(" && ")})`,
    ).join(" || ");
    expect(requirement(parseSelector(product))?.key).toBe("a");
  });
});

describe("canonical text", () => {
  test.each([
    ["a=='b'", 'a == "b"'],
    ["a == 'b' && has(c)", "(has(c)) && ((a == 'b'))"],
    ["a in {'y','x','x'}", "a in {'x', 'y'}"],
    ["a in {'x'}", "a == 'x'"],
    ["a not in {'x'}", "!(a == 'x')"],
    ["!(a in {'x','y'})", "a not in {'y','x'}"],
    ["has(a) || has(a)", "has(a)"],
    ["has(a) && all()", "has(a)"],
    ["has(a) || all()", ""],
    ["has(a) && a in {}", "!all()"],
    ["has(a) && (has(b) && has(c))", "has(c) && has(b) && has(a)"],
    ["a contains ''", "has(a)"],
  ])("%j and %j are one", (one, other) => {
    expect(parseSelector(one).text).toBe(parseSelector(other).text);
  });

  test("the namespace rules", () => {
    expect(allOf(parseSelector("has(a) || has(b)"), inNamespace("openstack")).text).toBe(
      "(has(a) || has(b)) && projectcalico.org/namespace == 'openstack'",
    );
    expect(allOf().text).toBe("all()");
    expect(parseNamespaceSelector("all()").text).toBe("has(projectcalico.org/namespace)");
    expect(parseNamespaceSelector("global()").text).toBe("!has(projectcalico.org/namespace)");
    expect(parseNamespaceSelector("!global() && tier in {'a','b'}").text).toBe(
      "has(projectcalico.org/namespace) && pcns.tier in {'a', 'b'}",
    );
  });
});

const key = fc.constantFrom("a", "b", "c");
const value = fc.constantFrom("", "x", "y", "xy", "it's", 'q"q');
const quoted = value.map((text) => (text.includes("'") ? `"${text}"` : `'${text}'`));
const { tree } = fc.letrec<{ tree: string }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "small" },
    fc.constant("all()"),
    key.map((k) => `has(${k})`),
    fc
      .tuple(key, fc.constantFrom("==", "!=", "contains", "starts with", "ends with"), quoted)
      .map((parts) => parts.join(" ")),
    fc
      .tuple(key, fc.constantFrom("in", "not in"), fc.array(quoted, { maxLength: 3 }))
      .map(([k, op, set]) => `${k} ${op} {${set.join(",")}}`),
    tie("tree").map((inner) => `!(${inner})`),
    fc.tuple(tie("tree"), fc.constantFrom("&&", "||"), tie("tree")).map(([a, op, b]) => `(${a}) ${op} (${b})`),
  ),
}));
const labelMap = fc.dictionary(key, value).map((object) => labels(object));

/** A second, naive reading of the same grammar: JavaScript evaluates the parenthesised text. */
function naive(text: string, map: ReadonlyMap<string, string>): boolean {
  const js = text
    .replace(/all\(\)/g, "true")
    .replace(/has\((\w)\)/g, (_, k: string) => `m.has("${k}")`)
    .replace(
      /(\w) (not in|in) \{([^}]*)\}/g,
      (_, k: string, op: string, set: string) =>
        `${op === "in" ? "" : "!"}(m.has("${k}") && [${set}].includes(m.get("${k}")))`,
    )
    .replace(/(\w) (==|!=) ('[^']*'|"[^"]*")/g, (_, k: string, op: string, v: string) => `(m.get("${k}") ${op}= ${v})`)
    .replace(
      /(\w) (contains|starts with|ends with) ('[^']*'|"[^"]*")/g,
      (_, k: string, op: string, v: string) =>
        `(m.has("${k}") && m.get("${k}").${{ contains: "includes", "starts with": "startsWith", "ends with": "endsWith" }[op]}(${v}))`,
    );
  return new Function("m", `return ${js}`)(map) as boolean;
}

describe("properties", () => {
  test("evaluation agrees with a second reading, before and after canonicalisation", () => {
    fc.assert(
      fc.property(tree, labelMap, (text, map) => {
        const selector = parseSelector(text);
        expect(evaluate(selector, map)).toBe(naive(text, map));
        expect(evaluate(parseSelector(selector.text), map)).toBe(naive(text, map));
      }),
      { numRuns: 1000 },
    );
  });

  test("canonical text is a fixed point, and blind to order and repetition", () => {
    fc.assert(
      fc.property(tree, tree, (a, b) => {
        expect(parseSelector(parseSelector(a).text).text).toBe(parseSelector(a).text);
        for (const op of ["&&", "||"]) {
          expect(parseSelector(`(${a}) ${op} (${b}) ${op} (${a})`).text).toBe(
            parseSelector(`(${b}) ${op} (${a})`).text,
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  test("what matches fulfils the requirement", () => {
    fc.assert(
      fc.property(tree, labelMap, (text, map) => {
        const selector = parseSelector(text);
        const needed = requirement(selector);
        if (needed === undefined || !evaluate(selector, map)) return;
        const found = map.get(needed.key);
        expect(found).toBeDefined();
        if (needed.values !== undefined) expect(needed.values).toContain(found);
      }),
      { numRuns: 1000 },
    );
    expect(requirement(parseSelector("has(a) && b in {'x','y'} && c == 'z'"))).toEqual({ key: "c", values: ["z"] });
    expect(requirement(parseSelector("a == 'x' || a == 'y' && has(b)"))).toEqual({ key: "a", values: ["x", "y"] });
    expect(requirement(parseSelector("!has(a)"))).toBeUndefined();
  });

  test("any text at all gives a selector or a SelectorError", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[ab=!&|(){}'", ]{0,30}$/)), (text) => {
        try {
          parseSelector(parseSelector(text).text);
        } catch (error) {
          expect(error).toBeInstanceOf(SelectorError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
