/** Calico's label selectors: canonical text, evaluation, and what an index may look up first. */
import { canonicalTree, render } from "./selector-canonical.js";
import { parseTree, SelectorError, type Node } from "./selector-parse.js";

export { SelectorError } from "./selector-parse.js";

export const NAMESPACE_LABEL = "projectcalico.org/namespace";
export const ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator";
/** Labels of a namespace reach its endpoints through its profile under this prefix (Calico's v3 → v1 conversion). */
const NAMESPACE_PREFIX = "pcns.";

export interface Selector {
  /** Canonical: selectors that were written differently but canonicalise alike have the same text. Parses back. */
  readonly text: string;
  readonly root: Node;
}

/** Throws SelectorError. `global()` outside a namespaceSelector is an error, as in Calico's validation. */
export function parseSelector(text: string): Selector {
  const root = parseTree(text);
  if (mentionsGlobal(root)) throw new SelectorError("global() can only be said in a namespaceSelector");
  return selectorOf(root);
}

/**
 * A rule's or policy's namespaceSelector as a selector over endpoints: label names get "pcns.", all() means "in some
 * namespace", global() "in none". Throws SelectorError.
 */
export function parseNamespaceSelector(text: string): Selector {
  return selectorOf(namespaced(parseTree(text)));
}

/** projectcalico.org/namespace == '<namespace>'. */
export function inNamespace(namespace: string): Selector {
  return selectorOf({ op: "==", key: NAMESPACE_LABEL, value: namespace });
}

export function hasLabel(key: string): Selector {
  return selectorOf({ op: "has", key });
}

/** The conjunction; with nothing given: all(). */
export function allOf(...selectors: readonly Selector[]): Selector {
  return selectorOf({ op: "&&", terms: selectors.map((selector) => selector.root) });
}

export function evaluate(selector: Selector, labels: ReadonlyMap<string, string>): boolean {
  return holds(selector.root, labels);
}

/** A label that every match must have, and the values it may have where the selector says so. */
export interface Requirement {
  readonly key: string;
  /** Sorted; absent: any value. Empty: the selector matches nothing. */
  readonly values?: readonly string[];
}

/** The narrowest single-label condition that every match fulfils, for indexing; undefined when there is none. */
export function requirement(selector: Selector): Requirement | undefined {
  return requirementsOf(selector.root).sort((a, b) => breadth(a) - breadth(b) || (a.key < b.key ? -1 : 1))[0];
}

function selectorOf(node: Node): Selector {
  const root = canonicalTree(node);
  return { text: render(root), root };
}

function mentionsGlobal(node: Node): boolean {
  if (node.op === "&&" || node.op === "||") return node.terms.some(mentionsGlobal);
  return node.op === "!" ? mentionsGlobal(node.term) : node.op === "global";
}

function namespaced(node: Node): Node {
  switch (node.op) {
    case "all":
      return { op: "has", key: NAMESPACE_LABEL };
    case "global":
      return { op: "!", term: { op: "has", key: NAMESPACE_LABEL } };
    case "!":
      return { op: "!", term: namespaced(node.term) };
    case "&&":
    case "||":
      return { op: node.op, terms: node.terms.map(namespaced) };
    default:
      return { ...node, key: NAMESPACE_PREFIX + node.key };
  }
}

function holds(node: Node, labels: ReadonlyMap<string, string>): boolean {
  switch (node.op) {
    case "all":
      return true;
    case "global":
      return !labels.has(NAMESPACE_LABEL);
    case "has":
      return labels.has(node.key);
    case "==":
      return labels.get(node.key) === node.value;
    case "!=":
      return labels.get(node.key) !== node.value;
    case "contains":
      return labels.get(node.key)?.includes(node.value) ?? false;
    case "starts with":
      return labels.get(node.key)?.startsWith(node.value) ?? false;
    case "ends with":
      return labels.get(node.key)?.endsWith(node.value) ?? false;
    case "in":
    case "not in": {
      const value = labels.get(node.key);
      return (value !== undefined && node.values.includes(value)) === (node.op === "in");
    }
    case "!":
      return !holds(node.term, labels);
    case "&&":
      return node.terms.every((term) => holds(term, labels));
    case "||":
      return node.terms.some((term) => holds(term, labels));
  }
}

function requirementsOf(node: Node): Requirement[] {
  switch (node.op) {
    case "has":
    case "contains":
    case "starts with":
    case "ends with":
      return [{ key: node.key }];
    case "==":
      return [{ key: node.key, values: [node.value] }];
    case "in":
      return [{ key: node.key, values: node.values }];
    case "&&":
      return narrowestPerKey(node.terms.flatMap(requirementsOf));
    case "||":
      return node.terms.map(requirementsOf).reduce(common);
    default:
      return [];
  }
}

/** One per key, so that alternatives of long conjunctions do not multiply. */
function narrowestPerKey(all: readonly Requirement[]): Requirement[] {
  const best = new Map<string, Requirement>();
  for (const one of all) {
    const known = best.get(one.key);
    if (known === undefined || breadth(one) < breadth(known)) best.set(one.key, one);
  }
  return [...best.values()];
}

/** What holds whichever of two alternatives does. */
function common(a: Requirement[], b: Requirement[]): Requirement[] {
  return a.flatMap((one) =>
    b
      .filter((other) => other.key === one.key)
      .map((other) =>
        one.values === undefined || other.values === undefined
          ? { key: one.key }
          : { key: one.key, values: [...new Set([...one.values, ...other.values])].sort() },
      ),
  );
}

function breadth(requirement: Requirement): number {
  return requirement.values?.length ?? Number.POSITIVE_INFINITY;
}
