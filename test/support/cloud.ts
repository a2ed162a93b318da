/** A world with an agent that enforces a directory of the test's own: what the traffic tests stand on. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { ApplyEvent } from "../../src/agent/status.js";
import { AgentProcess } from "../../src/demo/world/agent.js";
import type { Guest, GuestSpec } from "../../src/demo/world/guest.js";
import { World } from "../../src/demo/world/world.js";
import { endpoint, type EndpointSpec, type Resource } from "./resources.js";

export const HOSTNAME = "compute1";

export interface Member {
  readonly spec: GuestSpec;
  readonly groups: readonly string[];
  /** What its endpoint says besides. */
  readonly more?: Partial<EndpointSpec>;
}

const bare = (network: string): string => network.split("/")[0] ?? "";

export function endpointOf({ spec, groups, more }: Member): Resource {
  const addresses = spec.addresses.map(bare);
  return endpoint({ name: spec.tap.slice("tap".length), node: HOSTNAME, mac: spec.mac, addresses, groups, ...more });
}

export class Cloud {
  private constructor(
    readonly world: World,
    readonly agent: AgentProcess,
    readonly policyDir: string,
  ) {}

  /** Guests are plugged and enforced when it resolves. */
  static async create(
    members: readonly Member[],
    policies: readonly Resource[],
    flags: readonly string[] = [],
    /** What runs the agent: ["setpriv", …]. */
    prefix: readonly string[] = [],
  ): Promise<Cloud> {
    const policyDir = mkdtempSync(join(tmpdir(), "tb-policy-"));
    const world = await World.create();
    const agent = await AgentProcess.create(world.host, { policyDir, hostname: HOSTNAME, flags, prefix });
    const cloud = new Cloud(world, agent, policyDir);
    try {
      cloud.write("endpoints.yaml", members.map(endpointOf));
      cloud.write("policies.yaml", policies);
      await Promise.all([agent.startEnforcing(members.length), ...members.map(({ spec }) => world.addGuest(spec))]);
    } catch (error) {
      await cloud.close();
      throw error;
    }
    return cloud;
  }

  guest(name: string): Guest {
    return this.world.guest(name);
  }

  private write(file: string, resources: readonly Resource[]): void {
    const path = join(this.policyDir, file);
    writeFileSync(`${path}.new`, resources.map(({ object }) => stringify(object)).join("---\n"));
    renameSync(`${path}.new`, path);
  }

  /** Writes a file of the directory anew; resolves when the agent has put it in force. */
  async put(file: "endpoints.yaml" | "policies.yaml", resources: readonly Resource[]): Promise<ApplyEvent> {
    const answered = (event: ApplyEvent): boolean => event.changes.some(({ kind }) => kind !== "interface");
    const applied = this.agent.applied(answered, `${file} was in force`);
    this.write(file, resources);
    return applied;
  }

  /** What the endpoint's programs have dropped since they were attached, by reason. */
  drops(name: string): Promise<Record<string, number>> {
    return this.dropsAt(this.guest(name).spec.tap);
  }

  private async dropsAt(tap: string): Promise<Record<string, number>> {
    const shown = JSON.parse(await this.agent.torbie(["endpoint", "show", tap, "--json"])) as {
      dropsByReason: { reason: string; count: number }[];
    };
    return Object.fromEntries(shown.dropsByReason.map(({ reason, count }) => [reason, count]));
  }

  /** How many more of each reason `act` made the endpoint drop. */
  dropsDuring(name: string, act: () => Promise<unknown>): Promise<Record<string, number>> {
    return this.dropsAtDuring(this.guest(name).spec.tap, act);
  }

  /** The same of a tap that is not one of this world's guests'. */
  async dropsAtDuring(tap: string, act: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await this.dropsAt(tap);
    await act();
    const after = await this.dropsAt(tap);
    return Object.fromEntries(
      Object.entries(after)
        .map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    );
  }

  async close(): Promise<void> {
    await this.agent.remove();
    await this.world.close();
    rmSync(this.policyDir, { recursive: true, force: true });
  }
}
