/**
 * A recorded cloud again, step by step, into a real etcd that a real agent follows: after each step what passes on taps is what the call of
 * Neutron's API meant. Where the incumbent's driver wrote something else, it is what was written; TWISTS says where, and nothing else may differ.
 */
import { afterEach, describe, expect, it } from "vitest";
import { Neutron, type Twist } from "../support/neutron.js";
import type { Port } from "../support/neutron-api.js";
import { questionsOf } from "../support/neutron-probes.js";
import { recordedSteps, textOf, type Step } from "../support/recorded.js";
import { ReplayHost, type Shot } from "../support/replay-host.js";
import { shotsAfter, tapsOf, type Guesting, type Judged } from "../support/replay-shots.js";
import { endpoint, group, type Resource } from "../support/resources.js";

/** What the incumbent loses of the API's meaning on the way into etcd, as far as packets of these recordings show it. */
const TWISTS: Readonly<Record<Twist, { makes: "narrower" | "wider" | "other"; why: string }>> = {
  "port security stays on": {
    makes: "narrower",
    why: "port_security_enabled is not written, and such a port has no group",
  },
  "a CIDR pair spoils its port": {
    makes: "narrower",
    why: "10.77.0.0/24 becomes 10.77.0.0/24/32, which nobody can read",
  },
  "a port without host is nobody": { makes: "narrower", why: "only a resync writes a port without host" },
  "address groups are anyone": { makes: "wider", why: "remote_address_group_id is dropped from the rule" },
  "ports are always up": { makes: "wider", why: "admin_state_up is not written" },
  /** Its guest goes on, and nobody else can come with its address. */
  "detached ports are left behind": { makes: "other", why: "nothing is written when a port loses its device" },
};
const ALL = Object.keys(TWISTS) as Twist[];
const seen = new Set<Twist>();
/** Milliseconds that an agent may take to its first endpoint; two cores may have a lot else to do. */
const START = 45_000;

/** A port of the test's own for a group of the API, since the recorded rules come before the recorded ports. */
const ownPort = (id: string, last: number, hostname: string, groups: readonly string[]): Port => ({
  id,
  device_owner: "compute:nova",
  mac_address: `fa:16:3e:00:00:${last.toString(16)}`,
  admin_state_up: true,
  port_security_enabled: true,
  security_groups: groups,
  fixed_ips: [{ ip_address: `10.65.0.${last}` }, { ip_address: `fd00:65::${last.toString(16)}` }],
  allowed_address_pairs: [],
  "binding:host_id": hostname,
  "binding:profile": {},
});
const writtenOf = (port: Port): Resource =>
  endpoint({
    name: port.id,
    node: port["binding:host_id"],
    mac: port.mac_address,
    addresses: port.fixed_ips.map(({ ip_address }) => ip_address),
    groups: port.security_groups,
  });

let host: ReplayHost | undefined;
afterEach(async () => {
  await host?.close();
  host = undefined;
});

class Replay {
  private readonly canary: Port;
  private readonly own: readonly Port[];
  private readonly guesting: Guesting;
  private readonly ports = new Map<string, Port>();
  private readonly written = new Set<string>();
  frames = 0;

  constructor(
    readonly hostname: string,
    readonly steps: readonly Step[],
  ) {
    const named = steps.filter(({ request }) => request.startsWith("POST /v2.0/security-groups "));
    const groups = named.map(({ response }) => (response as { id: string }).id);
    this.canary = ownPort("canary", 250, hostname, ["canary"]);
    this.own = groups.slice(0, 2).map((id, i) => ownPort(`own${i}`, 240 + i, hostname, [id]));
    const questions = questionsOf(steps, this.own);
    const taps = tapsOf(steps, hostname, [this.canary, ...this.own]);
    this.guesting = { hostname, neutron: new Neutron(), questions, ports: this.ports, taps };
  }

  async start(flags: readonly string[]): Promise<void> {
    host = await ReplayHost.create(this.hostname, this.guesting.taps, flags);
    await this.put(writtenOf(this.canary), this.canaryPolicy(1));
  }

  private async put(...resources: readonly Resource[]): Promise<void> {
    await host?.etcdWriter.put(...resources.map(({ key, object }) => ({ key, value: JSON.stringify(object) })));
  }

  private canaryPolicy(port: number): Resource {
    return group("canary", { ingress: [{ action: "Allow", protocol: "UDP", destination: { ports: [port] } }] });
  }

  /** Writes what followed the step, and waits until the agent has all of it in force. */
  async follow(step: Step, index: number): Promise<void> {
    const { neutron } = this.guesting;
    neutron.apply(step);
    for (const change of step.etcd)
      if (change.op.startsWith("PUT")) await host?.etcdWriter.put({ key: change.key, value: textOf(change) });
      else await host?.etcdWriter.delete(change.key);
    const response = step.response as Port | null | undefined;
    if (/ports/.test(step.request) && response?.fixed_ips !== undefined) this.ports.set(response.id, response);
    for (const port of this.own)
      if (!this.written.has(port.id) && step.etcd.some(({ key }) => key.endsWith(port.security_groups[0] ?? "-"))) {
        this.written.add(port.id);
        this.ports.set(port.id, port);
        neutron.add(port);
        await this.put(writtenOf(port));
      }
    const applied = host?.agent.applied(({ changes }) => changes.some(({ id }) => id.endsWith("canary")), step.title);
    await this.put(this.canaryPolicy(1000 + index));
    await applied;
  }

  /** What went wrong after the step, as sentences. */
  async check(step: Step, index: number): Promise<string[]> {
    const shots = shotsAfter(step, index, this.guesting, ALL);
    this.frames += shots.length;
    const unexplained = shots.filter((shot) => shot.meant !== shot.expected && !this.explained(shot));
    const wrong = (await host?.fire(shots, this.known(index))) ?? ["no host"];
    return [...wrong, ...unexplained.map(({ journey }) => `the table does not explain ${JSON.stringify(journey)}`)];
  }

  private explained({ because, expected }: Judged): boolean {
    for (const twist of because) seen.add(twist);
    return because.length > 0 && because.every((twist) => TWISTS[twist].makes !== (expected ? "narrower" : "wider"));
  }

  /** Known to pass by what was written last. */
  private known(index: number): Shot {
    const packet = { protocol: 17, port: 1000 + index };
    const to = this.canary.fixed_ips[0]?.ip_address ?? "";
    return { journey: { at: undefined, towards: this.canary.id, from: "198.51.101.77", to, packet }, expected: true };
  }
}

/** Whether packets could notice. */
const matters = ({ request, etcd }: Step): boolean =>
  /\/v2\.0\/(ports|security|address)/.test(request) || etcd.some(({ key }) => key.includes("/resources/v3/"));

describe.each([
  ["full", "host1"],
  ["full", "host2"],
  ["dns", "host1"],
])("%s as %s has it", (recording, hostname) => {
  it("after each step what passes is what the API meant, or what was written instead", async () => {
    const steps = recordedSteps(recording);
    const replay = new Replay(hostname, steps);
    await replay.start([]);
    let checked = 0;
    let last = 0;
    for (const [index, step] of steps.entries()) {
      if (index === 0) {
        for (const change of step.etcd) await host?.etcdWriter.put({ key: change.key, value: textOf(change) });
        const enforced = host?.agent.applied((event) => event.enforced >= 1, "the canary was enforced", START);
        host?.agent.start();
        await enforced;
        continue;
      }
      if (!matters(step)) continue;
      await replay.follow(step, index);
      expect(await replay.check(step, index), `step ${step.step}: ${step.title}`).toEqual([]);
      last = index;
      checked++;
    }
    // What came too late for the last batch is told by the next one.
    expect(await replay.check(steps[last] as Step, last), "the last step, again").toEqual([]);
    expect(checked).toBeGreaterThan(40);
    expect(replay.frames).toBeGreaterThan(10_000);
  }, 240_000);
});

describe("the table of what was lost on the way into etcd", () => {
  it("has nothing that is not seen", () => {
    expect([...seen].sort()).toEqual([...ALL].sort());
  });
});
