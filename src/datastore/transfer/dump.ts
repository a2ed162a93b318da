/** Keys of etcd as YAML that a directory of policy reads back to the same keys and values. Pure. */
import { stringify } from "yaml";
import { parseKey } from "../../model/keys.js";
import { isObject } from "../../model/raw.js";
import { parseYamlFile } from "../yaml-parse.js";
import type { EtcdEntry } from "./compare.js";
import { differingPaths } from "./json.js";

/** Far below what a directory refuses to read (yaml-limits.ts). */
const FILE_BYTES = 512 * 1024;

export interface Dump {
  /** By name: "workloadendpoints-0001.yaml". */
  readonly files: ReadonlyMap<string, string>;
  readonly keys: number;
  /** What YAML cannot say so that it comes back the same, and why. */
  readonly left: readonly { readonly key: string; readonly why: string }[];
}

/** @param entries in the order in which they shall stand in the files */
export function dump(entries: Iterable<readonly [string, EtcdEntry]>): Dump {
  const files = new Map<string, string>();
  const left: { key: string; why: string }[] = [];
  const parts = new Map<string, { number: number; text: string }>();
  let keys = 0;
  for (const [key, { text }] of entries) {
    const written = documentOf(key, text);
    if ("why" in written) {
      left.push({ key, why: written.why });
      continue;
    }
    keys++;
    const family = familyOf(key);
    const part = parts.get(family) ?? { number: 1, text: "" };
    if (part.text.length + written.yaml.length > FILE_BYTES && part.text !== "") {
      files.set(fileName(family, part.number), part.text);
      parts.set(family, { number: part.number + 1, text: written.yaml });
    } else
      parts.set(family, { number: part.number, text: `${part.text}${part.text === "" ? "" : "---\n"}${written.yaml}` });
  }
  for (const [family, { number, text }] of parts) files.set(fileName(family, number), text);
  return { files, keys, left };
}

/** One document, checked by reading it back. */
function documentOf(key: string, text: string): { readonly yaml: string } | { readonly why: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { why: `its value is not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (!isObject(value)) return { why: "its value is not an object" };
  const parsed = parseKey(key);
  const isSubnet = parsed.kind === "Subnet";
  const document = isSubnet ? { kind: "Subnet", metadata: { name: parsed.name }, spec: value } : value;
  let yaml: string;
  try {
    yaml = stringify(document, { aliasDuplicateObjects: false, lineWidth: 0 });
  } catch (error) {
    return { why: `it cannot be written as YAML: ${error instanceof Error ? error.message : String(error)}` };
  }
  const back = parseYamlFile(yaml, "dump", "host");
  const [resource] = back.resources;
  if (resource === undefined || back.resources.length !== 1)
    return { why: back.problems[0]?.what ?? "it does not come back from YAML" };
  const samePlace = isSubnet ? resource.key.endsWith(`/${parsed.name}`) : resource.key === key;
  if (!samePlace) return { why: `what it says of itself belongs to another key, ${resource.key}` };
  const [path] = differingPaths(
    resource.object,
    isSubnet ? value : { ...value, apiVersion: resource.object["apiVersion"] },
  );
  return path === undefined ? { yaml } : { why: `${path} does not come back from YAML as it was` };
}

function familyOf(key: string): string {
  return parseKey(key).kind === "Subnet" ? "subnets" : (key.split("/")[5] ?? "others");
}

function fileName(family: string, number: number): string {
  return `${family}-${String(number).padStart(4, "0")}.yaml`;
}
