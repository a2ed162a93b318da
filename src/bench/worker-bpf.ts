/** Torbie's programs, and the limits that they are measured against. */
import { execFileSync } from "node:child_process";
import type { BpfBackend } from "../dataplane/bpf/backend.js";
import { Workspace } from "../demo/world/workspace.js";
import { FIRST_MEMBER, FIRST_RULE_PORT, OPEN_PORT } from "./cloud.js";
import type { Size } from "./desired.js";
import { enforceBpf, FROM, GUEST_MACS, TO } from "./enforce.js";
import { Injector, type Plan } from "./inject.js";
import { arriving, linkOf, makeTaps, type Link, type Measurement } from "./links.js";
import { BASE, firstOf, OLD_LARGE, OLD_SMALL, sizes } from "./plan.js";
import { resetFlows } from "./reset-flows.js";

const steady: Plan = { flows: 1, firstSource: FROM, destination: TO, firstPort: OPEN_PORT };
/** Bytes of the largest frame that no Ethernet MTU of 1,500 holds up. */
const LARGE_FRAME = 1514;

export async function bpf(quick: boolean): Promise<Record<string, Measurement>> {
  const all = sizes(quick).bpf;
  const names = all.flatMap((_, i) => [`tap${i}a`, `tap${i}b`, `up${i}`]);
  const links = await makeTaps(["floor0", "lim0", "lim1", "ins0", "ins1", ...names]);
  const link = (name: string): Link => links.get(name) ?? linkOf(name);
  execFileSync("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
  const injector = await Injector.load("build/bench.bpf.o");
  injector.attach("inject_floor", link("floor0"));
  injector.attach("limit", link("lim0"), link("lim1"));
  injector.attach("insert_limit", link("ins0"), link("ins1"));
  const { pinDir: pins } = await Workspace.create(); // goes with this process
  const inject = (on: string, plan: Plan, size?: number): Measurement => {
    const at = link(on);
    return (packets) => injector.run(at, GUEST_MACS[0], plan, packets, size);
  };
  const established = (flows: number, size?: number): Measurement =>
    arriving("tap0b", (packets) => {
      const send = inject("tap0a", { ...steady, flows }, size);
      send(Math.max(1000, flows * 2));
      return send(packets);
    });
  const fresh = ({ objects }: BpfBackend, to: string, on: string, plan: Plan): Measurement => {
    const measure = arriving(to, (packets) => inject(on, { ...plan, flows: packets })(packets));
    return (packets) => {
      resetFlows(objects.maps);
      return measure(packets);
    };
  };
  const found: Record<string, Measurement> = {
    floor: inject("floor0", steady),
    floor_1500: inject("floor0", steady, LARGE_FRAME),
    limit: arriving("lim1", inject("lim0", steady)),
    limit_1500: arriving("lim1", inject("lim0", steady, LARGE_FRAME)),
    insert_limit: (packets) => {
      injector.forget();
      return arriving("ins1", (n) => inject("ins0", { ...steady, flows: n })(n))(packets);
    },
    established_1: established(1),
    established_1000: established(1000),
    established_50000: established(50_000),
    established_1500: established(1, LARGE_FRAME),
  };
  const local = new Map<Size, string>([
    [BASE, "first"],
    [OLD_SMALL, "first_2_rules"],
    [OLD_LARGE, "first_1000_rules"],
  ]);
  for (const [i, size] of all.entries()) {
    const [from, to, uplink] = [`tap${i}a`, `tap${i}b`, `up${i}`];
    const taps = [link(from), link(to)];
    try {
      const backend = await enforceBpf(`${pins}-${i}`, { taps, size }, link(uplink));
      /** As from another host: from members and to ports drawn uniformly. */
      const drawn = { sources: size.members, ports: size.rules - 1 };
      const plan = { flows: 1, destination: TO, firstSource: FIRST_MEMBER, firstPort: FIRST_RULE_PORT, ...drawn };
      found[firstOf("bpf", size)] = fresh(backend, to, uplink, plan);
      const name = local.get(size);
      if (name !== undefined) found[name] = fresh(backend, to, from, steady);
    } catch (error) {
      found[firstOf("bpf", size)] = () => {
        throw error;
      };
    }
  }
  return found;
}
