/** What the demo plays on: a world, the agent on its compute host, and the directory as both see it. */
import type { ApplyEvent } from "../agent/status.js";
import { ConfigError } from "../errors.js";
import type { Model } from "../model/types.js";
import type { Problem } from "../problems.js";
import { castOf, type Cast, type Player } from "./cast.js";
import { measure } from "./measure.js";
import type { Matrix } from "./matrix.js";
import { PolicyReader } from "./policy-reader.js";
import { AgentProcess } from "./world/agent.js";
import type { Guest } from "./world/guest.js";
import { World } from "./world/world.js";

/** Endpoints that leave `node` out are on whatever host reads them; those of other hosts are not ours to play. */
const HOSTNAME = "demo";
/** A table of more does not fit a screen. */
const MOST_GUESTS = 12;

export interface Drops {
  readonly count: number;
  readonly sentence: string;
}

export class Stage {
  cast: Cast = { players: [], ports: [] };
  private readonly listening = new Set<number>();
  /** Measuring again waits for the former round. */
  private queue: Promise<void> = Promise.resolve();

  private constructor(
    private readonly reader: PolicyReader,
    private readonly world: World,
    private readonly agent: AgentProcess,
  ) {}

  /** @throws ConfigError when the directory holds no guest, or more than fit */
  static async create(policyDir: string, dataplane?: string): Promise<Stage> {
    const reader = await PolicyReader.open(policyDir, HOSTNAME);
    try {
      const guests = reader.model.locals.size;
      if (guests === 0) {
        const why = reader.problems.map(({ where, what }) => `\n  ${where}: ${what}`).join("");
        throw new ConfigError(
          "NO_GUESTS",
          `${policyDir}: no WorkloadEndpoint of host "${HOSTNAME}" (or of no host) is there${why}`,
        );
      }
      if (guests > MOST_GUESTS)
        throw new ConfigError(
          "TOO_MANY_GUESTS",
          `${policyDir}: ${guests} guests, the demo plays at most ${MOST_GUESTS}`,
        );
      const world = await World.create();
      const flags = dataplane === undefined ? [] : ["--dataplane", dataplane];
      return new Stage(reader, world, await AgentProcess.create(world.host, { policyDir, hostname: HOSTNAME, flags }));
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  get model(): Model {
    return this.reader.model;
  }

  /** Name of what enforces, as the agent says. */
  get dataplane(): string {
    return this.agent.status()?.dataplane.name ?? "unknown";
  }

  guest(name: string): Guest {
    return this.world.guest(name);
  }

  /** Guests are there and enforced. */
  async open(): Promise<void> {
    this.cast = castOf(this.model);
    this.cast.ports.forEach((port) => this.listening.add(port));
    await Promise.all([
      this.agent.startEnforcing(this.cast.players.length),
      ...this.cast.players.map(({ spec }) => this.world.addGuest(spec)),
    ]);
  }

  /** One round, in the cast's order, with the guests and ports that the directory names by now. */
  async measure(): Promise<Matrix> {
    await this.followCast();
    const { players, ports } = this.cast;
    return measure(
      players.map(({ spec }) => this.world.guest(spec.name)),
      ports,
    );
  }

  /** Guests come and go with the directory, and answer on the ports that it names. */
  private async followCast(): Promise<void> {
    this.cast = castOf(this.model);
    const { players, ports } = this.cast;
    const names = new Set(players.map(({ spec }) => spec.name));
    await this.removeGuests([...this.world.guests.keys()].filter((name) => !names.has(name)));
    await this.addGuests(players.filter(({ spec }) => !this.world.guests.has(spec.name)));
    for (const port of ports.filter((wanted) => !this.listening.has(wanted))) {
      this.listening.add(port);
      await Promise.all([...this.world.guests.values()].map(({ probe }) => probe.listen(`tcp/${port}`)));
    }
  }

  private async removeGuests(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.world.removeGuest(name)));
  }

  private async addGuests(players: readonly Player[]): Promise<void> {
    if (players.length === 0) return;
    const enforced = this.agent.applied(
      (event) => event.enforced >= this.cast.players.length,
      "the new guests were enforced",
    );
    await Promise.all([enforced, ...players.map(({ spec }) => this.world.addGuest(spec))]);
  }

  /** Calls back, one after the other, for every pass of the agent that answers a change. `answer` does not throw. */
  onApplied(answer: (event: ApplyEvent) => Promise<void>): void {
    this.agent.follow((news) => {
      if (news.type !== "applied" || (news.event.totalChanges === 0 && news.event.failures.length === 0)) return;
      const read = news.event.changes.some(({ kind }) => kind !== "interface")
        ? this.reader.caughtUp()
        : Promise.resolve();
      this.queue = this.queue.then(() => read).then(() => answer(news.event));
    });
  }

  onProblem(tell: (problem: Problem, solved: boolean) => void): void {
    this.agent.follow((news) => {
      if (news.type !== "applied") tell(news.problem, news.type === "solved");
    });
  }

  /** Drop counters of a guest's endpoint, by reason. */
  async drops(name: string): Promise<Map<string, Drops>> {
    const shown = JSON.parse(await this.agent.torbie(["endpoint", "show", name, "--json"])) as {
      dropsByReason: readonly ({ reason: string } & Drops)[];
    };
    return new Map(
      shown.dropsByReason.map(({ reason, count, sentence }) => [reason, { count: Number(count), sentence }]),
    );
  }

  /** Everything it made is gone afterwards. */
  async close(): Promise<void> {
    await this.reader.close();
    await this.agent.remove();
    await this.world.close();
  }
}
