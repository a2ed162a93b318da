/** Our iptables path as one side of a comparison: the real backend, its sysctls and guard, and packets put on its taps. */
import { execFileSync } from "node:child_process";
import { Compiler } from "../compile/compiler.js";
import type { Tap } from "../dataplane/backend.js";
import { ensureGuard } from "../dataplane/guard.js";
import { IptablesBackend } from "../dataplane/iptables/backend.js";
import type { KeyPut } from "../datastore/types.js";
import { tapSettings } from "../links/sysctl-plan.js";
import { ModelStore } from "../model/store.js";
import type { Mac } from "../model/types.js";
import { cloud, dotted, FIRST_MEMBER, FIRST_RULE_PORT, HOSTNAME, OPEN_PORT } from "./cloud.js";
import { Injector, type Interface } from "./inject.js";

export const IPTABLES_RULES = { ipt_small: 10, ipt_large: 1000 } as const;
const MEMBERS = 10;
const FROM = 0x0a410001;
const TO = 0x0a410002;
const MACS = ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02"] as const;

type Measurement = (packets: number) => number;
interface Link extends Interface {
  readonly name: string;
  readonly mtu: number;
}

/** @param arriving measures only what arrives at this tap */
export async function iptables(
  role: keyof typeof IPTABLES_RULES,
  links: ReadonlyMap<string, Link>,
  arriving: (to: string, measure: Measurement) => Measurement,
): Promise<Record<string, Measurement>> {
  const [from, to, uplink] = ["tap0", "tap1", "up0"].map((name) => links.get(name));
  if (from === undefined || to === undefined || uplink === undefined) throw new Error("no taps");
  const taps = [from, to];
  const tapOf = ({ name, ifindex, mac, mtu }: Link): [string, Tap] => [
    name,
    { name, ifindex, mac: mac as Mac, mtu, up: true },
  ];
  const settings = taps.flatMap(({ name }) => tapSettings(name, "iptables")).filter(({ path }) => path[1] === "ipv4");
  execFileSync("sysctl", [
    "-qw",
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.netfilter.nf_conntrack_udp_timeout=600",
    ...settings.map(({ path, value }) => `${path.join(".")}=${value}`),
  ]);
  for (const [i, { name }] of taps.entries()) {
    const address = dotted(FROM + i);
    execFileSync("ip", ["route", "add", `${address}/32`, "dev", name]);
    execFileSync("ip", ["neigh", "add", address, "lladdr", MACS[i] ?? "", "dev", name, "nud", "permanent"]);
  }
  execFileSync("ip", ["route", "add", "default", "dev", "up0"]);
  const store = new ModelStore(HOSTNAME);
  const guests = taps.map(({ name }, i) => ({
    name: `g${i}`,
    tap: name,
    mac: MACS[i] ?? "",
    address: dotted(FROM + i),
  }));
  const puts: KeyPut[] = [...cloud(guests, IPTABLES_RULES[role], MEMBERS)];
  store.apply({ type: "snapshot-begin" });
  store.apply({ type: "changes", changes: puts });
  store.apply({ type: "in-sync" });
  const compiler = new Compiler();
  compiler.apply(store.model, store.takeDelta());
  const backend = await IptablesBackend.open({ prefixes: ["tap"], excluded: [], markShift: 0, hostToGuest: true });
  const { failures } = await backend.apply(compiler.desired, { taps: new Map(taps.map(tapOf)), uplinks: [] });
  const [failure] = failures;
  if (failure !== undefined) throw failure.error;
  const guard = async (): Promise<void> => {
    const claimed = new Map(taps.map(({ name, ifindex }) => [ifindex, name]));
    await ensureGuard({ claimed, judgedBy: "rules", forward: false });
  };
  const injector = await Injector.load("build/bench.bpf.o");
  const steady = { flows: 1, firstSource: FROM, destination: TO, firstPort: OPEN_PORT };
  const answered = { flows: 1, firstSourcePort: OPEN_PORT, firstSource: TO, destination: FROM, firstPort: 1024 };
  const establish = (): void => {
    injector.run(from, MACS[0], steady, 64);
    injector.run(to, MACS[1], answered, 64);
  };
  /** As from another host: every flow is a new one, from a member of the group that the rules name. */
  const first: Measurement = arriving("tap1", (packets) => {
    execFileSync("conntrack", ["-F"], { stdio: "ignore" });
    return injector.run(
      uplink,
      "02:00:00:00:00:01",
      {
        flows: packets,
        firstSource: FIRST_MEMBER,
        sources: MEMBERS,
        destination: TO,
        firstPort: FIRST_RULE_PORT,
        ports: IPTABLES_RULES[role] - 1,
      },
      packets,
    );
  });
  const established = arriving("tap1", (packets) => {
    establish();
    return injector.run(from, MACS[0], steady, packets);
  });
  if (role === "ipt_large") return { ipt_first_1000: first };
  await guard();
  const nft = (text: string): unknown => execFileSync("nft", ["-f", "-"], { input: text });
  return {
    ipt_first_10: first,
    /** As the agent leaves it: with the standing guard. */
    ipt_guarded: established,
    ipt_established: (packets) => {
      nft("add table inet torbie_guard { flags dormant; }\n");
      try {
        return established(packets);
      } finally {
        nft("add table inet torbie_guard\n");
      }
    },
  };
}
