/**
 * Text of a Calico selector → tree. Grammar (projectcalico.org/v3): || binds weaker than &&, `!` before a term;
 * terms: k == 'v', k != 'v', k in {…}, k not in {…}, k contains|starts with|ends with 'v', has(k), all(), global(), ( … ).
 * Strings in ' or " without escapes. Length, depth and size are bounded: the text may be hostile.
 */
import { TorbieError } from "../errors.js";
import { quote } from "../text.js";

export type Node =
  | { readonly op: "all" | "global" }
  | { readonly op: "has"; readonly key: string }
  | {
      readonly op: "==" | "!=" | "contains" | "starts with" | "ends with";
      readonly key: string;
      readonly value: string;
    }
  | { readonly op: "in" | "not in"; readonly key: string; readonly values: readonly string[] }
  | { readonly op: "!"; readonly term: Node }
  | { readonly op: "&&" | "||"; readonly terms: readonly Node[] };

/** The text is no selector; the message says what and at which character (from 1). */
export class SelectorError extends TorbieError {
  constructor(what: string) {
    super("BAD_SELECTOR", what);
  }
}

const MAX_LENGTH = 262_144;
const MAX_DEPTH = 64;
const WORD = /[A-Za-z0-9_./-]{1,512}/y;
const SPACE = /[ \t\r\n]*/y;
const STRING = /'([^']*)'|"([^"]*)"/y;
const OPERATOR = /==|!=|contains|starts[ \t]*with|ends[ \t]*with|not[ \t]*in|in/y;

/** Throws SelectorError. Empty text selects everything, as with Calico. */
export function parseTree(text: string): Node {
  if (text.length > MAX_LENGTH)
    throw new SelectorError(`a selector of ${text.length} characters; ${MAX_LENGTH} are the most`);
  return new Parser(text).whole();
}

class Parser {
  private at = 0;
  private depth = 0;

  constructor(private readonly text: string) {}

  whole(): Node {
    this.space();
    if (this.at === this.text.length) return { op: "all" };
    const node = this.union();
    if (this.at < this.text.length) throw this.error("&&, || or the end");
    return node;
  }

  private union(): Node {
    return this.chain("||", () => this.chain("&&", () => this.term()));
  }

  private chain(op: "&&" | "||", next: () => Node): Node {
    const first = next();
    if (!this.text.startsWith(op, this.at)) return first;
    const terms = [first];
    while (this.take(op)) terms.push(next());
    return { op, terms };
  }

  private term(): Node {
    let negated = false;
    while (this.text[this.at] === "!" && this.text[this.at + 1] !== "=") {
      negated = !negated;
      this.take("!");
    }
    const term = this.plainTerm();
    return negated ? { op: "!", term } : term;
  }

  private plainTerm(): Node {
    if (this.take("(")) {
      if (++this.depth > MAX_DEPTH) throw new SelectorError(`parentheses nested more than ${MAX_DEPTH} deep`);
      const node = this.union();
      this.expect(")");
      this.depth--;
      return node;
    }
    if (this.take("has(")) {
      const key = this.match(WORD, "a label name")[0];
      this.expect(")");
      return { op: "has", key };
    }
    for (const op of ["all", "global"] as const) {
      if (!this.take(`${op}(`)) continue;
      this.expect(")");
      return { op };
    }
    return this.comparison(this.match(WORD, "a label name, has(, all(, global( or (")[0]);
  }

  private comparison(key: string): Node {
    const op = this.match(OPERATOR, "==, !=, in, not in, contains, starts with or ends with")[0];
    if (op === "==" || op === "!=" || op === "contains") return { op, key, value: this.string() };
    if (op.endsWith("with"))
      return { op: op.startsWith("starts") ? "starts with" : "ends with", key, value: this.string() };
    this.expect("{");
    const values: string[] = [];
    while (!this.take("}")) {
      values.push(this.string());
      if (this.take(",")) continue;
      this.expect("}");
      break;
    }
    return { op: op === "in" ? "in" : "not in", key, values };
  }

  private string(): string {
    const found = this.match(STRING, "a string in ' or \"");
    return found[1] ?? found[2] ?? "";
  }

  private match(pattern: RegExp, expected: string): RegExpExecArray {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) throw this.error(expected);
    this.at = pattern.lastIndex;
    this.space();
    return found;
  }

  private take(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    this.space();
    return true;
  }

  private expect(token: string): void {
    if (!this.take(token)) throw this.error(token);
  }

  private space(): void {
    SPACE.lastIndex = this.at;
    SPACE.exec(this.text);
    this.at = SPACE.lastIndex;
  }

  private error(expected: string): SelectorError {
    const found = this.at < this.text.length ? quote(this.text.slice(this.at, this.at + 40)) : "the end";
    return new SelectorError(`expected ${expected} at character ${this.at + 1}, found ${found}`);
  }
}
