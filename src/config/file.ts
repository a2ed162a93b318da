/** The configuration file's text as entries with their places. Pure: the caller reads the file. */
import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { quote } from "../text.js";
import { ConfigError } from "../errors.js";

export interface FileEntry {
  readonly name: string;
  readonly value: unknown;
  /** path:line:column of the key. */
  readonly where: string;
}

export const MAX_CONFIG_BYTES = 1 << 20;

/** @throws ConfigError with path:line:column when the text is not one YAML mapping of plain keys */
export function readConfigText(path: string, text: string): readonly FileEntry[] {
  const shown = quote(path).slice(1, -1);
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES)
    throw new ConfigError(
      "BAD_CONFIG_FILE",
      `${shown}: larger than ${MAX_CONFIG_BYTES} bytes: not a configuration file`,
    );
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, schema: "core", uniqueKeys: true });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${shown}:${line}:${col}`;
  };
  const bad = document.errors[0];
  if (bad)
    throw new ConfigError("BAD_CONFIG_FILE", `${at(bad.pos[0])}: ${bad.message.split("\n")[0] ?? bad.code}`, {
      cause: bad,
    });
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return [];
  if (!isMap(root)) throw new ConfigError("BAD_CONFIG_FILE", `${shown}:1:1: expected "setting: value" lines`);
  return root.items.map((pair) => {
    const { key } = pair;
    const where = at((key as { range?: readonly number[] }).range?.[0] ?? 0);
    if (!isScalar(key) || typeof key.value !== "string")
      throw new ConfigError("BAD_CONFIG_FILE", `${where}: a setting's name must be plain text`);
    try {
      const node = pair.value as { toJS?: (document: unknown, options: object) => unknown } | null;
      return { name: key.value, value: node?.toJS ? node.toJS(document, { maxAliasCount: 10 }) : null, where };
    } catch (error) {
      throw new ConfigError("BAD_CONFIG_FILE", `${where}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  });
}
