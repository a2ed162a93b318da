/**
 * What a YAML file may cost, checked before anything recursive or slow sees it. The composer recurses, and when V8 compiles a regular
 * expression near the end of the stack it does not throw but ends the process (seen with Node 20 and 10,000 brackets). It also
 * takes some ten microseconds a token, during which the agent does nothing else.
 */
import { isMap, isScalar, visit, type CST, type Document } from "yaml";

/** A rule of a policy nests about ten deep. */
export const MAX_DEPTH = 100;
/** Characters that make tokens; a plain WorkloadEndpoint has about 35. */
export const MAX_TOKENS = 500_000;

/** What stands before the first content of a line: a block that nests on one line ("- - - a") or by its indentation. */
const LINE_START = /^[ \-?:]{1000}/m;
const TOKEN_STARTS = new Set([..."\n,:-?[]{}&*!'\"|>#"].map((character) => character.charCodeAt(0)));

/** A place in the file, by offset, and what is wrong there. */
export class YamlRefusal extends Error {
  constructor(
    readonly offset: number,
    message: string,
  ) {
    super(message);
  }
}

/** Before parsing. Throws YamlRefusal. */
export function checkText(text: string): void {
  const start = LINE_START.exec(text);
  if (start !== null) throw tooDeep(start.index);
  let tokens = 0;
  for (let i = 0; i < text.length; i++) {
    if (TOKEN_STARTS.has(text.charCodeAt(i)) && ++tokens > MAX_TOKENS) {
      throw new YamlRefusal(i, "the file is too large to be parsed without holding the agent up: split it");
    }
  }
}

/** The tokens as they come, the depth of each checked without recursion. Throws YamlRefusal. */
export function* shallow(tokens: Iterable<CST.Token>): Generator<CST.Token> {
  for (const token of tokens) {
    checkDepth(token);
    yield token;
  }
}

/** Offsets of keys that their map has already. The parser's own check compares every key with every other. */
export function duplicateKeys(document: Document): readonly number[] {
  const found: number[] = [];
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        if (isMap(key) || !isScalar(key)) continue;
        if (seen.has(key.value)) found.push(key.range?.[0] ?? 0);
        seen.add(key.value);
      }
    },
  });
  return found;
}

function checkDepth(root: CST.Token): void {
  let level: CST.Token[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    const [first] = level;
    if (depth > MAX_DEPTH && first !== undefined) throw tooDeep(first.offset);
    level = level.flatMap(childrenOf);
  }
}

function childrenOf(token: CST.Token): CST.Token[] {
  if (token.type === "document") return token.value === undefined ? [] : [token.value];
  if (token.type !== "block-map" && token.type !== "block-seq" && token.type !== "flow-collection") return [];
  return token.items.flatMap((item) => [item.key, item.value].filter((child) => child !== null && child !== undefined));
}

function tooDeep(offset: number): YamlRefusal {
  return new YamlRefusal(offset, `it nests more than ${MAX_DEPTH} deep`);
}
