/** Whether the kernel has an endpoint, whole, on its tap: asked of the maps and the hooks, not of what is remembered. */
import { EndpointFlag, NameKind } from "../../abi/layout.gen.js";
import { parse, readU32, toBytes, u32, type Bytes } from "../../abi/records.js";
import type { DesiredEndpoint } from "../../compile/desired.js";
import type { Tap } from "../backend.js";
import type { Attacher } from "./attach.js";
import type { Maps } from "./maps.js";
import { digestOf } from "./registry.js";

export interface ReadBack {
  readonly endpoint: Pick<DesiredEndpoint, "id" | "portSecurity">;
  readonly tap: Pick<Tap, "ifindex">;
}

/** Milliseconds after which the event loop gets its turn. */
const SLICE = 10;

/** Those that hold. Two map reads of three keys and two netlink requests each; the loop is not held up. */
export async function readBackAll<T extends ReadBack>(
  items: readonly T[],
  maps: Pick<Maps, "get">,
  attacher: Pick<Attacher, "holds">,
): Promise<readonly T[]> {
  const held: T[] = [];
  let until = performance.now() + SLICE;
  for (const item of items) {
    if (holds(item, maps) && attacher.holds(item.tap.ifindex, "tap")) held.push(item);
    if (performance.now() < until) continue;
    await new Promise((resolve) => setImmediate(resolve));
    until = performance.now() + SLICE;
  }
  return held;
}

/** The tap leads to a number, the number is that endpoint's, and its entry says that it passes what its policy set admits. */
function holds({ endpoint, tap }: ReadBack, maps: Pick<Maps, "get">): boolean {
  const numberBytes = maps.get("tap", u32(tap.ifindex));
  const number = numberBytes === undefined ? 0 : readU32(numberBytes);
  const name = maps.get("name", (u32(NameKind.NAME_ENDPOINT) + u32(number)) as Bytes);
  const value = maps.get("endpoint", u32(number));
  if (number === 0 || name === undefined || value === undefined) return false;
  const { ifindex, flags, policy_set } = parse("endpoint", value);
  return (
    toBytes(Buffer.from(parse("name", name).digest)) === toBytes(digestOf(endpoint.id)) &&
    ifindex === tap.ifindex &&
    (flags & EndpointFlag.ENDPOINT_PRESENT) !== 0 &&
    (flags & (EndpointFlag.ENDPOINT_ADMIN_DOWN | EndpointFlag.ENDPOINT_BLOCKED)) === 0 &&
    (endpoint.portSecurity ? policy_set !== 0 : (flags & EndpointFlag.ENDPOINT_NO_PORT_SECURITY) !== 0)
  );
}
