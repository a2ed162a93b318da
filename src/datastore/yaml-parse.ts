/** The text of one YAML file → resources, each with its line, or problems with line and column. Pure. */
import { Composer, LineCounter, Parser, visit, type Document } from "yaml";
import type { Problem } from "../problems.js";
import { escape, quote } from "../text.js";
import { deriveResource, type DerivedResource } from "./yaml-derive.js";
import { checkText, duplicateKeys, shallow, YamlRefusal } from "./yaml-limits.js";

/** Aliases may repeat a bit of text; a bomb repeats itself. */
const MAX_ALIASES = 100;
const MAX_PROBLEMS = 20;

export interface FileResource extends DerivedResource {
  /** "examples/groups.yaml:14" */
  readonly origin: string;
  /** For comparing: equal text, equal meaning. */
  readonly text: string;
}

export interface FileContent {
  readonly resources: readonly FileResource[];
  readonly problems: readonly Problem[];
  /** False: something of the file is not in `resources`. */
  readonly complete: boolean;
}

/** Never throws. @param path for people, in origins and problems */
export function parseYamlFile(text: string, path: string, hostname: string): FileContent {
  try {
    return new FileParser(text, path, hostname).parse();
  } catch (error) {
    const what = `the file cannot be read as YAML: ${quote(error instanceof Error ? error.message : String(error))}`;
    const before = text.slice(0, error instanceof YamlRefusal ? error.offset : 0).split("\n");
    const where = `${path}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
    return { resources: [], problems: [fileProblem(where, "BAD_YAML", what)], complete: false };
  }
}

/** With the consequence that all problems of a file have. */
export function fileProblem(where: string, code: string, what: string): Problem {
  return {
    where: escape(where),
    code,
    what,
    consequence: "nothing of this file takes effect; what it held when it was last read stays in force",
  };
}

class FileParser {
  private readonly lines = new LineCounter();
  private readonly problems: Problem[] = [];

  constructor(
    private readonly text: string,
    private readonly path: string,
    private readonly hostname: string,
  ) {}

  parse(): FileContent {
    checkText(this.text);
    const tokens = new Parser(this.lines.addNewLine).parse(this.text);
    const documents = [
      ...new Composer({ prettyErrors: false, logLevel: "silent", uniqueKeys: false }).compose(shallow(tokens)),
    ];
    const errors = documents.flatMap((document) => [...document.errors, ...document.warnings]);
    for (const error of errors) this.problem(error.pos[0], "BAD_YAML", escape(error.message));
    for (const offset of documents.flatMap(duplicateKeys))
      this.problem(offset, "BAD_YAML", "the map has this key already");
    if (this.problems.length > 0)
      return { resources: [], problems: this.problems.slice(0, MAX_PROBLEMS), complete: false };
    const resources = documents.flatMap((document) => this.resource(document));
    return { resources, problems: this.problems.slice(0, MAX_PROBLEMS), complete: this.problems.length === 0 };
  }

  private resource(document: Document): FileResource[] {
    // "---" with nothing but comments behind it.
    if (document.contents === null) return [];
    const start = document.contents.range?.[0] ?? 0;
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      this.problem(
        unknownAlias(document) ?? start,
        "BAD_YAML",
        `the document cannot be expanded: ${quote(error instanceof Error ? error.message : String(error))}`,
      );
      return [];
    }
    if (value === null) return [];
    const derived = deriveResource(value, this.hostname);
    if ("code" in derived) {
      this.problem(this.offsetOf(document, derived.field) ?? start, derived.code, derived.what);
      return [];
    }
    const origin = `${this.path}:${this.lines.linePos(start).line}`;
    return [{ ...derived, origin, text: JSON.stringify(derived.object, exact) }];
  }

  /** Where a field is, or the deepest of its parents that is there. */
  private offsetOf(document: Document, field: readonly string[]): number | undefined {
    for (let depth = field.length; depth > 0; depth--) {
      const node: unknown = document.getIn(field.slice(0, depth), true);
      if (typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range))
        return Number(node.range[0]);
    }
    return undefined;
  }

  private problem(offset: number, code: string, what: string): void {
    const { line, col } = this.lines.linePos(offset);
    this.problems.push(fileProblem(`${this.path}:${Math.max(1, line)}:${Math.max(1, col)}`, code, what));
  }
}

/** Where an alias is that no anchor stands for. */
function unknownAlias(document: Document): number | undefined {
  const anchors = new Set<string>();
  let found: number | undefined;
  visit(document, { Value: (_, { anchor }) => void (anchor !== undefined && anchors.add(anchor)) });
  visit(document, {
    Alias(_, { source, range }) {
      if (anchors.has(source)) return undefined;
      found = range?.[0];
      return visit.BREAK;
    },
  });
  return found;
}

/** JSON has no infinities; an order may be one. */
function exact(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? { "not finite": String(value) } : value;
}
