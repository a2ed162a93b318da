/** The reference evaluator as an Implementation. */
import { Evaluator, type Interfaces } from "../../src/compile/evaluate.js";
import { contains, parseAddress, parsePrefix } from "../../src/model/cidr.js";
import { NOTHING_SERVED } from "../../src/model/services.js";
import { TestModel } from "../support/model-of.js";
import type { Implementation } from "./runner.js";
import type { ConformanceWorld } from "./world.js";

export function evaluatorImplementation(): Implementation & {
  /** Flows begun since load(). */
  opened(): number;
} {
  let state: { readonly model: TestModel; readonly evaluator: Evaluator } | undefined;
  const running = (): NonNullable<typeof state> => {
    if (state === undefined) throw new Error("no world was loaded");
    return state;
  };
  return {
    name: "evaluator",
    provides: new Set(["vlan-metadata", "time", "short-frames", "services", "nat", "ingress-interface"]),
    load(world) {
      const model = new TestModel(world.hostname, world.resources);
      state = {
        model,
        evaluator: new Evaluator(model.model, interfacesOf(world), {
          fib: fibOf(world),
          hostToGuest: world.hostToGuest ?? true,
          served: world.served ?? NOTHING_SERVED,
        }),
      };
      return Promise.resolve();
    },
    receive: (at, frame, now) => Promise.resolve(running().evaluator.receive(at, frame, now)),
    opened: () => running().evaluator.opened,
    update(world) {
      const { model, evaluator } = running();
      model.change(world.resources);
      evaluator.update(model.model, interfacesOf(world));
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
}

export function interfacesOf(world: ConformanceWorld): Interfaces {
  return { taps: world.taps, uplinks: new Set(world.uplinks) };
}

/** Host addresses and unreachable prefixes of the world are fixed for its life. */
export function fibOf(world: ConformanceWorld): (destination: string) => "uplink" | "none" | "local-host" {
  const unreachable = world.unreachable.map((text) => {
    const prefix = parsePrefix(text);
    if (prefix === undefined) throw new Error(`no prefix: ${text}`);
    return prefix;
  });
  return (destination) => {
    if (world.hostAddresses.includes(destination)) return "local-host";
    const address = parseAddress(destination);
    return address !== undefined && unreachable.some((prefix) => contains(prefix, address)) ? "none" : "uplink";
  };
}
