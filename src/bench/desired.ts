/** What the compiler makes of cloud(), up to a million members, of which only a few go through the model. Pure. */
import { Compiler } from "../compile/compiler.js";
import type { DesiredState } from "../compile/desired.js";
import { ModelStore } from "../model/store.js";
import type { Address } from "../model/types.js";
import { cloud, dotted, FIRST_MEMBER, HOSTNAME, type CloudOptions, type Size, type Workload } from "./cloud.js";

/** Members that are read and compiled; the others are in the same classes as the first of them. */
const READ = 10;

export function desiredOf(
  guests: readonly Omit<Workload, "node" | "groups">[],
  size: Size,
  options: CloudOptions = {},
): DesiredState {
  const { members } = size;
  const store = new ModelStore(HOSTNAME);
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes: [...cloud(guests, { ...size, members: Math.min(members, READ) }, options)] });
  store.apply({ type: "in-sync" });
  const compiler = new Compiler();
  compiler.apply(store.model, store.takeDelta());
  const { desired } = compiler;
  if (members <= READ) return desired;
  const addresses = new Map(desired.addresses);
  const classes = addresses.get(dotted(FIRST_MEMBER) as Address);
  if (classes === undefined) throw new Error("the compiler knows no member");
  for (let i = READ; i < members; i++) addresses.set(dotted(FIRST_MEMBER + i) as Address, classes);
  return { ...desired, addresses };
}
