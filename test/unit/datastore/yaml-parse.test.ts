import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseYamlFile, type FileContent } from "../../../src/datastore/yaml-parse.js";
import { keyOf } from "../../../src/model/keys.js";
import { load } from "../model/help.js";

const parse = (text: string): FileContent => parseYamlFile(text, "dir/f.yaml", "host-1");
const wepKey = (name: string): string => keyOf("WorkloadEndpoint", name, "openstack");

describe("the plain form made whole", () => {
  test("an endpoint needs an interface, a MAC and addresses", () => {
    const { resources, complete, problems } = parse(
      "# my guest\nkind: WorkloadEndpoint\nmetadata:\n  name: web-1\nspec:\n  interfaceName: tapweb1\n  mac: fa:16:3e:00:00:11\n  ipNetworks: [10.65.0.11/32]\n",
    );
    expect([complete, problems]).toEqual([true, []]);
    const name = "host--1-openstack-web--1-web--1";
    expect(resources).toEqual([
      expect.objectContaining({
        key: wepKey(name),
        origin: "dir/f.yaml:2",
        object: {
          kind: "WorkloadEndpoint",
          apiVersion: "projectcalico.org/v3",
          metadata: { name, namespace: "openstack" },
          spec: {
            node: "host-1",
            orchestrator: "openstack",
            workload: "web-1",
            endpoint: "web-1",
            interfaceName: "tapweb1",
            mac: "fa:16:3e:00:00:11",
            ipNetworks: ["10.65.0.11/32"],
          },
        },
      }),
    ]);
    const store = load("host-1", Object.fromEntries(resources.map(({ key, object }) => [key, object])));
    expect([store.problems(), [...store.model.locals.values()].map(({ endpoint }) => endpoint)]).toEqual([
      [],
      ["web-1"],
    ]);
  });

  test.each([
    ["metadata: {name: a}", "spec: {}", "host--1-openstack-a-a"],
    ["metadata: {name: a-b-c-d}", "spec: {}", "host--1-openstack-a--b--c--d-a--b--c--d"],
    ["metadata: {}", "spec: {workload: web1}", "host--1-openstack-web1-web1"],
    ["metadata:", "spec: {interfaceName: tap1}", "host--1-openstack-tap1-tap1"],
    ["metadata: {name: a}", "spec: {node: far, workload: vm, endpoint: port}", "far-openstack-vm-port"],
    ["metadata: {name: far-openstack-vm-port}", "spec: {}", "far-openstack-vm-port"],
    ["metadata: {name: far-k8s-vm-port}", "spec: {orchestrator: k8s}", "far-k8s-vm-port"],
  ])("%s %s is %s", (metadata, spec, name) => {
    expect(parse(`kind: WorkloadEndpoint\n${metadata}\n${spec}\n`).resources.map(({ key }) => key)).toEqual([
      wepKey(name),
    ]);
  });

  test("other kinds, several in a file", () => {
    const { resources, complete } = parse(`---
kind: NetworkPolicy
metadata: {name: web}
spec: {}
---
# nothing but a comment
---
kind: NetworkPolicy
metadata: {name: web, namespace: other}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: ops.all}
---
kind: Subnet
metadata: {name: s1}
spec: {network_id: n, cidr: 10.65.0.0/24}
---
kind: HostEndpoint
metadata: {name: eth0}
---
kind: IPPool
metadata: {name: pool}
`);
    expect(complete).toBe(true);
    expect(resources.map(({ key, origin }) => [key, origin])).toEqual([
      [keyOf("NetworkPolicy", "web", "openstack"), "dir/f.yaml:2"],
      [keyOf("NetworkPolicy", "web", "other"), "dir/f.yaml:8"],
      [keyOf("GlobalNetworkPolicy", "ops.all"), "dir/f.yaml:11"],
      [keyOf("Subnet", "s1"), "dir/f.yaml:15"],
      ["/calico/resources/v3/projectcalico.org/hostendpoints/eth0", "dir/f.yaml:19"],
      ["/calico/resources/v3/projectcalico.org/ippools/pool", "dir/f.yaml:22"],
    ]);
    expect(resources[3]?.object).toEqual({ network_id: "n", cidr: "10.65.0.0/24" });
  });

  test("the examples of the repository are good", () => {
    const directory = new URL("../../../examples/", import.meta.url);
    const files = readdirSync(directory).filter((name) => name.endsWith(".yaml"));
    const contents = files.map((name) => parseYamlFile(readFileSync(new URL(name, directory), "utf8"), name, "host-1"));
    expect(contents.flatMap(({ problems }) => problems)).toEqual([]);
    const store = load(
      "host-1",
      Object.fromEntries(contents.flatMap(({ resources }) => resources).map(({ key, object }) => [key, object])),
    );
    expect(store.problems()).toEqual([]);
    expect(store.model.locals.size).toBeGreaterThan(0);
    expect(store.model.policies.size).toBeGreaterThan(0);
  });

  test("aliases, and what YAML 1.1 read differently", () => {
    const { resources } = parse(
      "kind: NetworkPolicy\nmetadata:\n  name: a\n  annotations: {torbie/stateful: off}\nspec:\n  ingress:\n    - &rule {action: Allow}\n    - *rule\n",
    );
    expect(resources[0]?.object).toMatchObject({
      metadata: { annotations: { "torbie/stateful": "off" } },
      spec: { ingress: [{ action: "Allow" }, { action: "Allow" }] },
    });
  });

  test("orders of plus and minus infinity are different texts", () => {
    const [a, b] = ["+.inf", "-.inf"].map(
      (order) => parse(`kind: Tier\nmetadata: {name: a}\nspec: {order: ${order}}\n`).resources[0]?.text,
    );
    expect(a).not.toBe(b);
  });
});

describe("what cannot be used is named with line and column", () => {
  test.each([
    ["a tab", "kind: Tier\nmetadata:\n\tname: x\n", "3:1", "BAD_YAML"],
    ["an open bracket", "kind: [Tier\n", "2:1", "BAD_YAML"],
    ["a key twice", "kind: Tier\nmetadata: {name: a}\nkind: Profile\n", "3:1", "BAD_YAML"],
    ["an unknown tag", "kind: !!js/function 'x'\n", "1:7", "BAD_YAML"],
    ["an unknown alias", "kind: *x\n", "1:7", "BAD_YAML"],
    ["an unknown kind", "metadata: {name: x}\nkind: NetworkPolcy\n", "2:7", "UNKNOWN_KIND"],
    ["no kind", "metadata: {name: x}\n", "1:1", "UNKNOWN_KIND"],
    ["a foreign kind", "apiVersion: v1\nkind: ConfigMap\n", "1:13", "BAD_API_VERSION"],
    ["no name", "kind: Tier\n", "1:1", "NO_NAME"],
    ["a name that is a list", "kind: Tier\nmetadata:\n  name: [x]\n", "3:9", "NO_NAME"],
    ["a name with a slash", "kind: Tier\nmetadata: {name: a/b}\n", "2:18", "NO_NAME"],
    ["a namespace with a slash", "kind: NetworkSet\nmetadata: {name: a, namespace: b/c}\n", "2:32", "BAD_NAME"],
    ["an endpoint without spec", "kind: WorkloadEndpoint\nmetadata: {name: a}\n", "1:1", "NO_SPEC"],
    ["an endpoint without any name", "kind: WorkloadEndpoint\nspec: {mac: x}\n", "1:1", "NO_NAME"],
    ["a node with a slash", "kind: WorkloadEndpoint\nmetadata: {name: a}\nspec: {node: a/b}\n", "3:14", "BAD_NAME"],
    ["plain text", "hello\n", "1:1", "NOT_AN_OBJECT"],
    ["a list", "- kind: Tier\n", "1:1", "NOT_AN_OBJECT"],
    ["metadata in words", "kind: Tier\nmetadata: x\n", "2:11", "BAD_METADATA"],
    ["brackets nested 10,000 deep", "[".repeat(10_000), "1:101", "BAD_YAML"],
    ["maps nested 5,000 deep", `a: ${"{a: ".repeat(5000)}`, "1:397", "BAD_YAML"],
    [
      "blocks nested 3,000 deep",
      Array.from({ length: 3000 }, (_, i) => `${" ".repeat(i)}a:\n`).join(""),
      "1001:1",
      "BAD_YAML",
    ],
    ["dashes nested 100,000 deep", "- ".repeat(100_000), "1:1", "BAD_YAML"],
    ["a million numbers", `a: [${"1,".repeat(1_000_000)}]`, "1:1000002", "BAD_YAML"],
  ])("%s", (_, text, place, code) => {
    const { resources, problems, complete } = parse(text);
    expect([resources, complete]).toEqual([[], false]);
    expect(problems[0]).toMatchObject({
      where: `dir/f.yaml:${place}`,
      code,
      consequence: expect.stringContaining("stays in force") as string,
    });
  });

  test("a bomb of aliases", () => {
    const levels = [..."bcdefghij"].map(
      (name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefghij"[i]}`).join(",")}]`,
    );
    const { problems, complete } = parse(`a: &a [x,x,x,x,x,x,x,x,x]\n${levels.join("\n")}\n`);
    expect([complete, problems[0]?.code, problems[0]?.what]).toEqual([
      false,
      "BAD_YAML",
      expect.stringContaining("alias"),
    ]);
  });

  test("a map of 100,000 keys is no quadratic matter, __proto__ is a key like any other", () => {
    // A quadratic one would outlast the test.
    parse(`a:\n${Array.from({ length: 100_000 }, (_, i) => ` k${i}: 1\n`).join("")}`);
    expect(
      parse("kind: Tier\nmetadata: {name: a, __proto__: {namespace: x}}\n__proto__: {spec: {order: 1}}\n").resources[0]
        ?.object,
    ).not.toHaveProperty("spec");
    expect(({} as Record<string, unknown>)["spec"]).toBeUndefined();
  });

  test("one bad document leaves the file incomplete, and the others readable", () => {
    const { resources, complete } = parse("kind: Tier\nmetadata: {name: a}\n---\nkind: Teir\nmetadata: {name: b}\n");
    expect([resources.length, complete]).toEqual([1, false]);
  });

  test("hostile names stay on their line", () => {
    const { problems } = parseYamlFile('kind: "a\\nb\\u202e"\n', "dir/\n$(id).yaml", "h");
    expect(problems[0]).toMatchObject({
      where: "dir/\\n$(id).yaml:1:7",
      what: 'kind is "a\\nb\\u202e", which Torbie does not know',
    });
  });
});
