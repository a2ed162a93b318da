/** The recorded keyspaces as YAML files say the same as in etcd, value for value. */
import { describe, expect, test } from "vitest";
import { parseYamlFile } from "../../../src/datastore/yaml-parse.js";
import { recorded, sortOut, yamlOf } from "../../support/recorded.js";

describe.each(["full", "dns"] as const)("%s", (name) => {
  const pairs = recorded(name);
  const { files, others } = sortOut(pairs);

  test("as YAML it holds every resource at its key, with every field", () => {
    for (const file of files) {
      const { resources, problems, complete } = parseYamlFile(yamlOf(file.pairs), file.name, "somewhere");
      expect(problems).toEqual([]);
      expect(complete).toBe(true);
      expect(Object.fromEntries(resources.map(({ key, object }) => [key, object]))).toEqual(
        Object.fromEntries(file.pairs.map(({ key, value }) => [key, JSON.parse(value) as unknown])),
      );
    }
    expect(files.reduce((sum, file) => sum + file.pairs.length, 0) + others.length).toBe(pairs.length);
  });

  test("what is left out is no resource: elections, compaction and agents' reports", () => {
    expect(others.length).toBeGreaterThan(0);
    for (const key of others) expect(key).toMatch(/^\/calico\/(compaction|felix|openstack|dhcp_agent)\//);
  });
});
