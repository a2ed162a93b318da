/**
 * What compiling costs at the size of a big cloud: 100,000 endpoints, 2,000 label sets, 1,000 security groups, 200 local ports.
 * Run: make build && node --expose-gc dist/bench/compile-scale.js
 */
import { Compiler } from "../compile/compiler.js";
import { parseSelector } from "../model/selector.js";
import type {
  Endpoint,
  EndpointId,
  LabelSet,
  LocalWorkload,
  Mac,
  Model,
  ModelDelta,
  Policy,
  PolicyId,
  Prefix,
  Rule,
  RuleSide,
} from "../model/types.js";

const ENDPOINTS = 100_000,
  LABEL_SETS = 2_000,
  GROUPS = 1_000,
  LOCAL = 200,
  RULES = 10;
const NAMESPACE = { key: "projectcalico.org/namespace", value: "openstack" };

const groupLabel = (group: number): string => `sg.projectcalico.org/openstack-${group}`;
const selects = (group: number): string =>
  parseSelector(`has(${groupLabel(group)}) && ${NAMESPACE.key} == '${NAMESPACE.value}'`).text;
const EMPTY: RuleSide = { nets: [], notNets: [], ports: [], notPorts: [] };

function labelSet(id: number): LabelSet {
  const groups = [id % GROUPS, (id * 7 + 1) % GROUPS];
  return {
    id,
    labels: new Map([
      [NAMESPACE.key, NAMESPACE.value],
      ...groups.map((one): [string, string] => [groupLabel(one), ""]),
    ]),
  };
}

function groupPolicy(group: number, port = 80): Policy {
  const remote = (i: number): RuleSide =>
    i % 3 === 0
      ? { ...EMPTY, nets: [`10.${group % 256}.${i}.0/24` as Prefix] }
      : { ...EMPTY, selector: selects((group + i) % GROUPS) };
  const rule = (i: number): Rule => ({
    index: `ingress/${i}`,
    action: "allow",
    family: 4,
    protocol: 6,
    source: remote(i),
    destination: { ...EMPTY, ports: [{ first: port + i, last: port + i }] },
  });
  const egress = ([4, 6] as const).map((family, i): Rule => ({
    index: `egress/${i}`,
    action: "allow",
    family,
    source: EMPTY,
    destination: EMPTY,
  }));
  return {
    id: `np:openstack/ossg.default.${group}` as PolicyId,
    key: `/${group}`,
    origin: `${group}`,
    name: `${group}`,
    tier: "default",
    order: Number.POSITIVE_INFINITY,
    selector: selects(group),
    ingressApplies: true,
    egressApplies: true,
    ingress: Array.from({ length: RULES }, (_, i) => rule(i)),
    egress,
    stateful: true,
  };
}

function endpoint(n: number, labels: LabelSet): Endpoint | LocalWorkload {
  const [v4, v6] = [
    `172.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}/32` as Prefix,
    `fd00::${(n >> 16).toString(16)}:${(n & 65535).toString(16)}/128` as Prefix,
  ];
  const base: Endpoint = {
    id: `openstack/port-${n}` as EndpointId,
    key: `/port-${n}`,
    node: n < LOCAL ? "here" : "there",
    prefixes: [v4, v6],
    labels,
  };
  if (n >= LOCAL) return base;
  return {
    ...base,
    namespace: "openstack",
    orchestrator: "openstack",
    workload: `${n}`,
    endpoint: `${n}`,
    interfaceName: `tap${n}`,
    mac: "fa:16:3e:00:00:01" as Mac,
    fixed: [v4, v6],
    pairs: [],
    gateways: {},
    nats: [],
    profiles: [],
    portSecurity: true,
    adminUp: true,
    notEnforced: [],
    origin: "",
  };
}

const labels = Array.from({ length: LABEL_SETS }, (_, id) => labelSet(id));
const labelsOf = (n: number): LabelSet => labels[n % LABEL_SETS] as LabelSet;
const endpoints = new Map(
  Array.from({ length: ENDPOINTS }, (_, n) => endpoint(n, labelsOf(n))).map((one) => [one.id, one]),
);
const locals = new Map([...endpoints].filter(([, one]) => "fixed" in one) as [EndpointId, LocalWorkload][]);
const policies = new Map(Array.from({ length: GROUPS }, (_, group) => groupPolicy(group)).map((one) => [one.id, one]));
const model: Model = {
  hostname: "here",
  endpoints,
  locals,
  policies,
  profiles: new Map(),
  tiers: new Map(),
  networkSets: new Map(),
  subnets: new Map(),
  migrations: new Map(),
};
const nothing: ModelDelta = {
  endpoints: new Set(),
  policies: new Set(),
  profiles: new Set(),
  tiers: new Set(),
  networkSets: new Set(),
  subnets: new Set(),
  migrations: new Set(),
  settings: false,
};
const heap = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
};
const compiler = new Compiler();

function measure(what: string, change: () => Partial<ModelDelta>): void {
  const delta = { ...nothing, ...change() };
  const start = performance.now();
  const result = compiler.apply(model, delta);
  const took = performance.now() - start;
  const counts = Object.entries(result).map(([name, set]) => `${name} ${set.size}`);
  console.log(`${what}: ${took.toFixed(1)} ms (${counts.join(", ")})`);
}

const before = heap();
measure("cold", () => ({}));
console.log(`memory over the model's: ${(heap() - before).toFixed(0)} MiB; the model's own: ${before.toFixed(0)} MiB`);
for (let round = 0; round < 3; round++) {
  measure("one member moves to another label set", () => {
    const id = `openstack/port-${5000 + round}` as EndpointId;
    endpoints.set(id, endpoint(5000 + round, labelsOf(7 + round)));
    return { endpoints: new Set([id]) };
  });
  measure("a new label set", () => {
    const id = `openstack/port-${6000 + round}` as EndpointId;
    endpoints.set(id, endpoint(6000 + round, labelSet(100_501 + round)));
    return { endpoints: new Set([id]) };
  });
  measure("a rule of a group with local ports changes its port", () => {
    const changed = groupPolicy(1, 1000 + round);
    policies.set(changed.id, changed);
    return { policies: new Set([changed.id]) };
  });
  measure("a prefix rule comes", () => {
    const old = policies.get("np:openstack/ossg.default.2" as PolicyId) as Policy;
    const added: Rule = {
      index: `ingress/${10 + round}`,
      action: "allow",
      source: { ...EMPTY, nets: [`10.0.0.0/${8 + round}` as Prefix] },
      destination: EMPTY,
    };
    policies.set(old.id, { ...old, ingress: [...old.ingress, added] });
    return { policies: new Set([old.id]) };
  });
}
