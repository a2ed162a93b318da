/** Torbie's programs, and the limits that they are measured against. */
import { execFileSync } from "node:child_process";
import type { BpfBackend } from "../dataplane/bpf/backend.js";
import { Workspace } from "../demo/world/workspace.js";
import { remoteTraffic, TO, type CloudOptions, type Size } from "./cloud.js";
import { enforceBpf, GUEST_MACS, ROUTER_MAC, routeOut } from "./enforce.js";
import { Injector, type Interface, type Plan } from "./inject.js";
import { arriving, linkOf, makeTaps, type Link, type Measurement } from "./links.js";
import { BASE, firstOf, OLD_LARGE, OLD_SMALL, sizes } from "./plan.js";
import { resetFlows } from "./reset-flows.js";
import { floorOf, limitOf, planOf, steadies, steadyOf, type Steady } from "./steady.js";

/** Bytes of the largest frame that no Ethernet MTU of 1,500 holds up. */
const LARGE_FRAME = 1514;
const frameOf = ({ bytes }: Pick<Steady, "bytes">): number => (bytes === 64 ? 64 : LARGE_FRAME);
const local = planOf({ family: 4, way: "tap_tap" });

/** Guests whose policy is another than the others'. */
const SPECIAL = {
  both: { ipv6: true },
  stateless: { stateless: true },
  /** More flows than there are source ports. */
  wide: { openPorts: 2 },
} as const satisfies Readonly<Record<string, CloudOptions>>;

/** Two guests' taps, and the uplink of the host that they are on. */
interface Place {
  readonly taps: readonly [Link, Link];
  readonly uplink: Link;
}

export async function bpf(quick: boolean): Promise<Record<string, Measurement>> {
  const all = sizes(quick).bpf;
  const labels = [...all.keys(), ...Object.keys(SPECIAL)].map(String);
  const named = (label: string): readonly [string, string, string] => [`t${label}a`, `t${label}b`, `u${label}`];
  const limits = ["floor0", "lim0", "lim1", "lim60", "lim61", "ins0", "ins1"];
  const links = await makeTaps([...limits, ...labels.flatMap(named)]);
  const link = (name: string): Link => links.get(name) ?? linkOf(name);
  execFileSync("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  const injector = await Injector.load("build/bench.bpf.o");
  injector.attach("inject_floor", link("floor0"));
  injector.attach("limit", link("lim0"), link("lim1"));
  injector.attach("limit6", link("lim60"), link("lim61"));
  injector.attach("insert_limit", link("ins0"), link("ins1"));
  const { pinDir: pins } = await Workspace.create(); // goes with this process
  const inject =
    (on: Interface, plan: Plan, size?: number, from: string = GUEST_MACS[0]): Measurement =>
    (packets) =>
      injector.run(on, from, plan, packets, size);

  const place = (label: string): Place => {
    const [from, to, uplink] = named(label);
    return { taps: [link(from), link(to)], uplink: link(uplink) };
  };
  const enforce = (label: string, size: Size, options: CloudOptions = {}): Promise<BpfBackend> => {
    const { taps, uplink } = place(label);
    return enforceBpf(`${pins}-${label}`, { taps, size, options }, uplink);
  };
  const established = (label: string, steady: Steady, flows = 1): Measurement => {
    const { taps, uplink } = place(label);
    const [on, from, to] = {
      tap_tap: [taps[0], GUEST_MACS[0], taps[1]] as const,
      tap_uplink: [taps[0], GUEST_MACS[0], uplink] as const,
      uplink_tap: [uplink, ROUTER_MAC, taps[1]] as const,
    }[steady.way];
    const send = inject(on, { ...planOf(steady), flows }, frameOf(steady), from);
    return arriving(to.name, (packets) => {
      send(Math.max(1000, flows * 2));
      return send(packets);
    });
  };
  const fresh = ({ objects }: BpfBackend, to: Link, on: Link, plan: Plan): Measurement => {
    const measure = arriving(to.name, (packets) => inject(on, { ...plan, flows: packets })(packets));
    return (packets) => {
      resetFlows(objects.maps);
      return measure(packets);
    };
  };

  const plain: Steady = { family: 4, way: "tap_tap", bytes: 64 };
  const found: Record<string, Measurement> = {
    insert_limit: (packets) => {
      injector.forget();
      return arriving("ins1", (n) => inject(link("ins0"), { ...local, flows: n })(n))(packets);
    },
    established_1: established("0", plain),
    established_1000: established("0", plain, 1000),
    established_50000: established("0", plain, 50_000),
    established_100000: established("wide", plain, 100_000),
    established_stateless: established("stateless", plain),
  };
  for (const family of [4, 6] as const)
    for (const bytes of [64, 1500] as const) {
      const [what, plan] = [{ family, bytes }, planOf({ family, way: "tap_tap" })];
      const [from, to] = family === 4 ? ["lim0", "lim1"] : ["lim60", "lim61"];
      found[floorOf(what)] = inject(link("floor0"), plan, frameOf(what));
      found[limitOf(what)] = arriving(to, inject(link(from), plan, frameOf(what)));
    }
  for (const steady of steadies(quick)) found[steadyOf(steady)] = established("both", steady);
  for (const [label, options] of Object.entries(SPECIAL)) await enforce(label, BASE, options);
  routeOut(place("both").uplink);

  const fromHere = new Map<Size, string>([
    [BASE, "first"],
    [OLD_SMALL, "first_2_rules"],
    [OLD_LARGE, "first_1000_rules"],
  ]);
  for (const [i, size] of all.entries()) {
    const { taps, uplink } = place(String(i));
    try {
      const backend = await enforce(String(i), size);
      /** As from another host: from where the rules say and to ports drawn uniformly. */
      const plan = { flows: 1, destination: TO, ...remoteTraffic(size) };
      found[firstOf("bpf", size)] = fresh(backend, taps[1], uplink, plan);
      const name = fromHere.get(size);
      if (name !== undefined) found[name] = fresh(backend, taps[1], taps[0], local);
    } catch (error) {
      found[firstOf("bpf", size)] = () => {
        throw error;
      };
    }
  }
  return found;
}
