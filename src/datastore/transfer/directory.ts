/** All of a directory of YAML at one moment, by the keys that it has in etcd. */
import { join } from "node:path";
import type { Problem } from "../../problems.js";
import { escape, quote } from "../../text.js";
import { listFiles, readText } from "../yaml-files.js";
import { fileProblem, parseYamlFile, type FileResource } from "../yaml-parse.js";

export interface DirectoryContents {
  readonly resources: ReadonlyMap<string, FileResource>;
  /** Of files that cannot be read in full, and keys that are there twice. */
  readonly problems: readonly Problem[];
}

/**
 * @param hostname the node of endpoints that name none @param region as in keys: where subnets go
 * @throws what readdir throws (ENOENT, ENOTDIR …)
 */
export async function readDirectory(path: string, hostname: string, region: string): Promise<DirectoryContents> {
  const resources = new Map<string, FileResource>();
  const problems: Problem[] = [];
  for (const { name } of await listFiles(path)) {
    const file = join(path, name);
    const read = await readText(file);
    if ("code" in read) {
      problems.push(fileProblem(file, read.code, escape(read.what)));
      continue;
    }
    const content = parseYamlFile(read.text, file, hostname);
    problems.push(...content.problems);
    for (const resource of content.resources) {
      const key = resource.key.replace("/calico/dhcp/v2/no-region/", `/calico/dhcp/v2/${region}/`);
      const first = resources.get(key);
      if (first === undefined) resources.set(key, { ...resource, key });
      else
        problems.push(fileProblem(resource.origin, "DUPLICATE", `${quote(key)} is defined at ${first.origin} already`));
    }
  }
  return { resources, problems };
}
