/** What we are compared with: the kernel's forwarding, rules by hand, our iptables path on both back ends, nftables. */
import { execFileSync } from "node:child_process";
import { ensureGuard } from "../dataplane/guard.js";
import { FIRST_MEMBER, FIRST_RULE_PORT, OPEN_PORT } from "./cloud.js";
import type { Size } from "./desired.js";
import {
  chooseBackEnd,
  enforceByHand,
  enforceIptables,
  enforceNft,
  FROM,
  GUEST_MACS,
  keepConnections,
  route,
  TO,
} from "./enforce.js";
import { Injector, type Plan } from "./inject.js";
import { arriving, makeTaps, type Link, type Measurement } from "./links.js";
import { BASE, firstOf, type Peer } from "./plan.js";

const steady: Plan = { flows: 1, firstSource: FROM, destination: TO, firstPort: OPEN_PORT };
const answered: Plan = { flows: 1, firstSourcePort: OPEN_PORT, firstSource: TO, destination: FROM, firstPort: 1024 };

async function interfaces(): Promise<{ from: Link; to: Link; uplink: Link; injector: Injector }> {
  const [from, to, uplink] = [...(await makeTaps(["tap0", "tap1", "up0"])).values()];
  if (from === undefined || to === undefined || uplink === undefined) throw new Error("no taps");
  return { from, to, uplink, injector: await Injector.load("build/bench.bpf.o") };
}

export async function forwarding(): Promise<Record<string, Measurement>> {
  const { from, to, injector } = await interfaces();
  route([from, to]);
  return { forwarding: arriving("tap1", (packets) => injector.run(from, GUEST_MACS[0], steady, packets)) };
}

/** Packets of a connection that has been answered: conntrack takes it for an established one. */
function established(injector: Injector, from: Link, to: Link): Measurement {
  return arriving("tap1", (packets) => {
    injector.run(from, GUEST_MACS[0], steady, 64);
    injector.run(to, GUEST_MACS[1], answered, 64);
    return injector.run(from, GUEST_MACS[0], steady, packets);
  });
}

export async function twoRules(): Promise<Record<string, Measurement>> {
  const { from, to, injector } = await interfaces();
  enforceByHand([from, to], "udp");
  keepConnections();
  return { two_rules: established(injector, from, to) };
}

/** With our guard's nft tables asleep: they cost what the agent's user pays, but are not the rules' cost. */
function unguarded(measure: Measurement): Measurement {
  const nft = (input: string): unknown => execFileSync("nft", ["-f", "-"], { input });
  return (packets) => {
    nft("add table inet torbie_guard { flags dormant; }\n");
    try {
      return measure(packets);
    } finally {
      nft("add table inet torbie_guard\n");
    }
  };
}

export async function peer(which: Peer, size: Size): Promise<Record<string, Measurement>> {
  const { from, to, uplink, injector } = await interfaces();
  const judged = { taps: [from, to], size };
  execFileSync("ip", ["route", "add", "default", "dev", uplink.name]);
  if (which === "nftables") enforceNft(judged);
  else {
    chooseBackEnd(which === "iptables_nft" ? "nft" : "legacy");
    await enforceIptables(judged);
  }
  keepConnections();
  /** As from another host: every flow is a new one, from a member of the group that the rules name. */
  const drawn = { sources: size.members, ports: size.rules - 1 };
  const plan = { destination: TO, firstSource: FIRST_MEMBER, firstPort: FIRST_RULE_PORT, ...drawn };
  const first = arriving("tap1", (packets) => {
    execFileSync("conntrack", ["-F"], { stdio: "ignore" });
    return injector.run(uplink, "02:00:00:00:00:01", { ...plan, flows: packets }, packets);
  });
  const answering = established(injector, from, to);
  const isBase = size.rules === BASE.rules && size.members === BASE.members;
  if (which === "nftables") return { [firstOf(which, size)]: first, [`${which}_established`]: answering };
  if (!isBase) return { [firstOf(which, size)]: first };
  const claimed = new Map([from, to].map(({ name, ifindex }) => [ifindex, name]));
  await ensureGuard({ claimed, judgedBy: "rules", forward: false });
  return {
    [firstOf(which, size)]: first,
    [`${which}_established`]: unguarded(answering),
    /** As the agent leaves it: with the standing guard. */
    [`${which}_guarded`]: answering,
  };
}
