/** The examples are what the README and the demo say of them, to the same reader that the agent has. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { castOf } from "../../../src/demo/cast.js";
import { describePolicy } from "../../../src/demo/describe.js";
import { PolicyReader } from "../../../src/demo/policy-reader.js";

const examples = join(import.meta.dirname, "../../../examples");

describe("the examples", () => {
  it("are read without a problem: four guests, two groups, two subnets", async () => {
    const reader = await PolicyReader.open(examples, "demo");
    try {
      expect(reader.problems).toEqual([]);
      const { players, ports } = castOf(reader.model);
      expect(ports).toEqual([80, 5432]);
      expect(
        players.map(({ spec, groups, subnets }) => [
          spec.name,
          spec.tap,
          spec.addresses,
          spec.gateways,
          groups,
          subnets[0],
        ]),
      ).toEqual([
        [
          "web1",
          "tapweb1",
          ["10.65.0.11/24", "2001:db8:65::11/64"],
          ["10.65.0.1", "2001:db8:65::1"],
          ["web"],
          "10.65.0.0/24",
        ],
        [
          "web2",
          "tapweb2",
          ["172.18.3.12/24", "2001:db8:18::12/64"],
          ["172.18.3.1", "2001:db8:18::1"],
          ["web"],
          "172.18.3.0/24",
        ],
        [
          "db1",
          "tapdb1",
          ["10.65.0.21/24", "2001:db8:65::21/64"],
          ["10.65.0.1", "2001:db8:65::1"],
          ["db"],
          "10.65.0.0/24",
        ],
        [
          "db2",
          "tapdb2",
          ["172.18.3.22/24", "2001:db8:18::22/64"],
          ["172.18.3.1", "2001:db8:18::1"],
          ["db"],
          "172.18.3.0/24",
        ],
      ]);
      expect(
        [...reader.model.policies.values()].map((policy) => `${policy.name}: ${describePolicy(policy)}`).sort(),
      ).toEqual(["db: tcp/5432 from group web, nothing else", "web: tcp/80 and ping from anyone"]);
    } finally {
      await reader.close();
    }
  });

  it("a directory that cannot be read says why", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tb-examples-"));
    try {
      await expect(PolicyReader.open(directory, "demo")).rejects.toThrow(/no \*\.yaml/);
      writeFileSync(join(directory, "a.yaml"), "kind: [");
      await expect(PolicyReader.open(directory, "demo")).rejects.toThrow(/a\.yaml:1/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
