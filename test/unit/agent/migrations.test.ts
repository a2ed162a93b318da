import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Migrations, SETTLE } from "../../../src/agent/migrations.js";
import { speakersOf } from "../../../src/links/speakers.js";
import type { EndpointId, LiveMigration, LocalWorkload, Model } from "../../../src/model/types.js";

const HERE = "here" as EndpointId;
const THERE = "there" as EndpointId;

/** What the datastore says, and whether the guest has sent anything by this host's tap. */
interface Now {
  readonly local: boolean;
  readonly role: "target" | "source" | "none";
  readonly spoke: boolean;
}

class Host {
  readonly migrations = new Migrations();
  time = 0;

  step({ local, role, spoke }: Now, after = 1): string | undefined {
    this.time += after;
    const before = this.migrations.moves.get(HERE);
    const one: LiveMigration =
      role === "target" ? { name: "m", target: HERE, source: THERE } : { name: "m", target: THERE, source: HERE };
    const model = {
      locals: new Map(local ? [[HERE, { interfaceName: "tap1" } as LocalWorkload]] : []),
      migrations: new Map(role === "none" ? [] : [["m", one]]),
    } satisfies Pick<Model, "locals" | "migrations">;
    const changed = this.migrations.update(model, (name) => name === "tap1" && spoke, this.time);
    const after_ = this.migrations.moves.get(HERE);
    expect(changed).toEqual(before === after_ ? [] : [HERE]);
    return after_;
  }
}

const target = { local: true, role: "target", spoke: false } as const;
const done = { local: true, role: "none", spoke: true } as const;

describe("a live migration, at its target", () => {
  it("is held until the guest speaks, preferred from then on, and like any other when routing has settled", () => {
    const host = new Host();
    expect(host.step({ ...target, local: false })).toBeUndefined();
    expect(host.step(target)).toBe("held");
    expect(host.migrations.wait(50, host.time)).toBe(50);
    expect(host.migrations.isDue(() => false, host.time)).toBe(false);
    expect(host.migrations.isDue((name) => name === "tap1", host.time)).toBe(true);
    expect(host.step({ ...target, spoke: true })).toBe("elevated");
    expect(host.migrations.wait(50, host.time)).toBeUndefined();
    expect(host.step(done)).toBe("elevated");
    expect(host.migrations.wait(50, host.time)).toBe(SETTLE);
    expect(host.step(done, SETTLE - 1)).toBe("elevated");
    expect(host.step(done)).toBeUndefined();
    expect(host.migrations.wait(50, host.time)).toBeUndefined();
  });

  it("that completes without a frame that was heard is announced all the same", () => {
    const host = new Host();
    expect(host.step(target)).toBe("held");
    expect(host.step({ ...done, spoke: false })).toBe("elevated");
  });

  it("that fails leaves nothing, and may begin again at once", () => {
    const host = new Host();
    expect(host.step(target)).toBe("held");
    expect(host.step({ ...done, local: false })).toBeUndefined();
    expect(host.step(target)).toBe("held");
    expect(host.step({ ...target, spoke: true })).toBe("elevated");
    expect(host.step({ ...done, local: false })).toBeUndefined();
  });

  it("that began before this agent did, and whose guest has come, is not taken back", () =>
    expect(new Host().step({ ...target, spoke: true })).toBe("elevated"));

  it("its source is announced as ever", () => expect(new Host().step({ ...done, role: "source" })).toBeUndefined());

  it("whatever comes, only a target whose guest is silent is held, and nobody stays preferred for ever", () => {
    const now = fc.record({
      local: fc.boolean(),
      role: fc.constantFrom("target", "source", "none"),
      spoke: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(now, fc.nat(SETTLE)), { maxLength: 12 }), (steps) => {
        const host = new Host();
        for (const [state, after] of steps) {
          const move = host.step(state, after);
          if (move === "held") expect(state).toMatchObject({ local: true, role: "target", spoke: false });
          if (!state.local || state.role === "source") expect(move).toBeUndefined();
        }
        host.step({ local: true, role: "none", spoke: true });
        expect(host.step({ local: true, role: "none", spoke: true }, SETTLE)).toBeUndefined();
      }),
    );
  });
});

it("who has sent anything is read from the kernel's counters", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     120       2    0    0    0     0          0         0      120       2    0    0    0     0       0          0
  tap1:       0       0    0    0    0     0          0         0      990       9    0    0    0     0       0          0
tap2a-b:60       1    0    0    0     0          0         0        0       0    0    0    0     0       0          0
`;
  expect([...speakersOf(text)]).toEqual(["lo", "tap2a-b"]);
});
