/** Worlds whose rules are kept as golden files: each shows another part of rendering. */
import { Compiler } from "../../src/compile/compiler.js";
import type { DesiredState } from "../../src/compile/desired.js";
import { wholeText } from "../../src/dataplane/iptables/plan.js";
import { Renderer } from "../../src/dataplane/iptables/render.js";
import type { Rendered, RenderOptions } from "../../src/dataplane/iptables/types.js";
import type { Tap } from "../../src/dataplane/backend.js";
import { ModelStore } from "../../src/model/store.js";
import { BASE, both, changed, respec, type ConformanceWorld } from "../conformance/world.js";
import { changes, group, inGroup, type Resource, type RuleObject } from "./resources.js";

const OPTIONS: RenderOptions = {
  prefixes: ["tap"],
  excluded: [],
  markShift: 0,
  hostToGuest: true,
  served: { metadata: [4, 6], names: true },
};

/** 300 rules of every shape that shares a set, and some that can't. */
const many = (more: readonly RuleObject[] = []): Resource =>
  group("web", {
    ingress: [
      ...Array.from({ length: 100 }, (_, i) => ({
        action: "Allow",
        ipVersion: 4,
        protocol: 6,
        source: { nets: [`10.${i}.0.0/16`] },
        destination: { ports: [1000 + i] },
      })),
      ...Array.from({ length: 100 }, (_, i) => ({
        action: "Allow",
        ipVersion: 4,
        protocol: 17,
        destination: { ports: [2 * i + 1] },
      })),
      ...Array.from({ length: 100 }, (_, i) => ({
        action: "Allow",
        ipVersion: 4,
        source: { nets: [`172.16.${i}.0/24`] },
      })),
      ...both({ protocol: 6, source: { selector: inGroup("db"), ports: [53] }, destination: { ports: ["1:65535"] } }),
      ...both({ notProtocol: 6, source: { selector: inGroup("db") } }),
      ...both({ protocol: 132, destination: { ports: [1, "5:9", 3868] } }),
      { action: "Allow", ipVersion: 4, protocol: "ICMP", icmp: { type: 3, code: 4 } },
      { action: "Allow", ipVersion: 6, protocol: "ICMPv6", icmp: { type: 128 } },
      ...more,
    ],
    egress: both({}),
  });

export const ONE_MORE = {
  world: changed(BASE, [many([{ action: "Allow", ipVersion: 4, protocol: 17, destination: { ports: [7777] } }])]),
  options: OPTIONS,
};

export const GOLDEN: Readonly<Record<string, { readonly world: ConformanceWorld; readonly options: RenderOptions }>> = {
  base: { world: BASE, options: OPTIONS },
  "many-rules": { world: changed(BASE, [many()]), options: OPTIONS },
  "other-options": {
    world: changed(BASE, [respec("pair1", { groups: ["web"], pairs: [{ ip: "0.0.0.0/0" }, { ip: "::/0" }] })]),
    options: { prefixes: ["tap", "vnet"], excluded: ["tapdhcp*"], markShift: 16, hostToGuest: false },
  },
};

/** What is wanted of a world, and its interfaces. */
export function compiledWorld(world: ConformanceWorld): {
  readonly desired: DesiredState;
  readonly taps: ReadonlyMap<string, Tap>;
} {
  const store = new ModelStore(world.hostname);
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes: changes(world.resources) });
  store.apply({ type: "in-sync" });
  const compiler = new Compiler();
  compiler.apply(store.model, store.takeDelta());
  const taps = new Map(
    [...world.taps].map(([name, { ifindex, hostMac, mtu }]): [string, Tap] => [
      name,
      { name, ifindex, mac: hostMac, mtu, up: true },
    ]),
  );
  return { desired: compiler.desired, taps };
}

export function renderWorld({ world, options }: { world: ConformanceWorld; options: RenderOptions }): Rendered {
  const { desired, taps } = compiledWorld(world);
  return new Renderer(options).render(desired, { taps, uplinks: [] });
}

export const textOf = (name: string): { readonly name: string; readonly text: string }[] => {
  const world = GOLDEN[name];
  if (world === undefined) throw new Error(`no world ${name}`);
  return wholeText(renderWorld(world)).map((file) =>
    file.name.endsWith("-ipset") ? { ...file, text: membersInOrder(file.text) } : file,
  );
};

/** A set's members stand in no order that means anything. */
function membersInOrder(text: string): string {
  return text.replace(/(?:^add .*\n)+/gm, (lines) => `${lines.trimEnd().split("\n").sort().join("\n")}\n`);
}
