/** What we are compared with: the kernel's forwarding, rules by hand, our iptables path on both back ends, nftables. */
import { execFileSync } from "node:child_process";
import { ensureGuard } from "../dataplane/guard.js";
import { remoteTraffic, TO, type Size } from "./cloud.js";
import {
  chooseBackEnd,
  enforceByHand,
  enforceIptables,
  enforceNft,
  GUEST_MACS,
  keepConnections,
  route,
  routeOut,
  ROUTER_MAC,
} from "./enforce.js";
import { Injector } from "./inject.js";
import { arriving, makeTaps, type Link, type Measurement } from "./links.js";
import { BASE, firstOf, GROWS, type Peer } from "./plan.js";
import { answerOf, byHandOf, planOf, steadies, type Steady } from "./steady.js";

/** From the first tap to the second. */
const LOCAL: Steady = { family: 4, way: "tap_tap", bytes: 64 };
const local = planOf(LOCAL);
const LARGE_FRAME = 1514;

interface Interfaces {
  readonly from: Link;
  readonly to: Link;
  readonly uplink: Link;
  readonly injector: Injector;
}

async function interfaces(): Promise<Interfaces> {
  const [from, to, uplink] = [...(await makeTaps(["tap0", "tap1", "up0"])).values()];
  if (from === undefined || to === undefined || uplink === undefined) throw new Error("no taps");
  return { from, to, uplink, injector: await Injector.load("build/bench.bpf.o") };
}

export async function forwarding(): Promise<Record<string, Measurement>> {
  const { from, to, injector } = await interfaces();
  route([from, to]);
  return { forwarding: arriving("tap1", (packets) => injector.run(from, GUEST_MACS[0], local, packets)) };
}

/** Packets of a connection that has been answered: conntrack takes it for an established one. */
function established({ injector, from, to, uplink }: Interfaces, steady: Steady): Measurement {
  const plan = planOf(steady);
  const [near, nearMac] = steady.way === "uplink_tap" ? [uplink, ROUTER_MAC] : [from, GUEST_MACS[0]];
  const [far, farMac] = steady.way === "tap_uplink" ? [uplink, ROUTER_MAC] : [to, GUEST_MACS[1]];
  return arriving(far.name, (packets) => {
    injector.run(near, nearMac, plan, 64);
    injector.run(far, farMac, answerOf(plan), 64);
    return injector.run(near, nearMac, plan, packets, steady.bytes === 64 ? 64 : LARGE_FRAME);
  });
}

export async function twoRules(quick: boolean): Promise<Record<string, Measurement>> {
  const all = await interfaces();
  enforceByHand([all.from, all.to], "udp");
  routeOut(all.uplink);
  keepConnections();
  const more = quick ? [] : steadies(quick).map((steady) => [byHandOf(steady), established(all, steady)] as const);
  return { two_rules: established(all, LOCAL), ...Object.fromEntries(more) };
}

export async function peer(which: Peer, size: Size): Promise<Record<string, Measurement>> {
  const all = await interfaces();
  const { from, to, uplink, injector } = all;
  const judged = { taps: [from, to], size };
  execFileSync("ip", ["route", "add", "default", "dev", uplink.name]);
  if (which === "nftables") enforceNft(judged);
  else {
    chooseBackEnd(which === "iptables_nft" ? "nft" : "legacy");
    await enforceIptables(judged);
  }
  keepConnections();
  /** As from another host: every flow is a new one, from where the rules say. */
  const plan = { destination: TO, ...remoteTraffic(size) };
  const first = arriving("tap1", (packets) => {
    execFileSync("conntrack", ["-F"], { stdio: "ignore" });
    return injector.run(uplink, ROUTER_MAC, { ...plan, flows: packets }, packets);
  });
  const answering = established(all, LOCAL);
  const isBase = GROWS.every((what) => size[what] === BASE[what]);
  if (which === "nftables") return { [firstOf(which, size)]: first, [`${which}_established`]: answering };
  if (!isBase) return { [firstOf(which, size)]: first };
  const claimed = new Map([from, to].map(({ name, ifindex }) => [ifindex, name]));
  // As the agent leaves it.
  await ensureGuard({ claimed, judgedBy: "rules", asleep: true, forward: false });
  return { [firstOf(which, size)]: first, [`${which}_established`]: answering };
}
