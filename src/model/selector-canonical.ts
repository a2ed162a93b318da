/**
 * One text for equal selectors: terms flattened, sorted and unique, double negation gone, constants folded, sets of one
 * written as comparisons. Sound, not complete: equal text means equal meaning, never the other way round by force.
 */
import type { Node } from "./selector-parse.js";

export const NOTHING: Node = { op: "!", term: { op: "all" } };

export function canonicalTree(node: Node): Node {
  switch (node.op) {
    case "all":
    case "global":
    case "has":
    case "==":
    case "!=":
      return node;
    case "contains":
    case "starts with":
    case "ends with":
      return node.value === "" ? { op: "has", key: node.key } : node;
    case "in":
    case "not in":
      return canonicalSet(node.op, node.key, [...new Set(node.values)].sort());
    case "!":
      return negate(canonicalTree(node.term));
    case "&&":
    case "||":
      return canonicalChain(node.op, node.terms);
  }
}

function canonicalSet(op: "in" | "not in", key: string, values: readonly string[]): Node {
  const [only] = values;
  if (only === undefined) return op === "in" ? NOTHING : { op: "all" };
  return values.length > 1 ? { op, key, values } : { op: op === "in" ? "==" : "!=", key, value: only };
}

function negate(node: Node): Node {
  switch (node.op) {
    case "!":
      return node.term;
    // `!=` and `not in` hold for an absent label too, so they are exact complements.
    case "==":
      return { op: "!=", key: node.key, value: node.value };
    case "!=":
      return { op: "==", key: node.key, value: node.value };
    case "in":
      return { op: "not in", key: node.key, values: node.values };
    case "not in":
      return { op: "in", key: node.key, values: node.values };
    default:
      return { op: "!", term: node };
  }
}

function canonicalChain(op: "&&" | "||", terms: readonly Node[]): Node {
  const byText = new Map<string, Node>();
  const add = (node: Node): void => {
    if (node.op === op) for (const term of node.terms) byText.set(render(term), term);
    else byText.set(render(node), node);
  };
  for (const term of terms) add(canonicalTree(term));
  const [neutral, dominant] = op === "&&" ? ["all()", "!all()"] : ["!all()", "all()"];
  byText.delete(neutral);
  if (byText.has(dominant)) return dominant === "all()" ? { op: "all" } : NOTHING;
  const sorted = [...byText.keys()].sort().map((text) => byText.get(text) as Node);
  const [only] = sorted;
  if (only === undefined) return op === "&&" ? { op: "all" } : NOTHING;
  return sorted.length === 1 ? only : { op, terms: sorted };
}

/** Text that parses back to the same tree. */
export function render(node: Node): string {
  switch (node.op) {
    case "all":
    case "global":
      return `${node.op}()`;
    case "has":
      return `has(${node.key})`;
    case "in":
    case "not in":
      return `${node.key} ${node.op} {${node.values.map(literal).join(", ")}}`;
    case "!":
      return `!${grouped(node.term)}`;
    case "&&":
    case "||":
      return node.terms.map(grouped).join(` ${node.op} `);
    default:
      return `${node.key} ${node.op} ${literal(node.value)}`;
  }
}

function grouped(node: Node): string {
  return node.op === "&&" || node.op === "||" ? `(${render(node)})` : render(node);
}

function literal(value: string): string {
  return value.includes("'") ? `"${value}"` : `'${value}'`;
}
