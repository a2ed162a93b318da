import { describe, expect, it } from "vitest";
import type { Difference } from "../../../src/check/difference.js";
import { DataplaneError } from "../../../src/errors.js";
import { cli, HOSTILE, SAME } from "./fake.js";

const LOST: Difference = { kind: "map", where: "policy", key: `port 80 ${HOSTILE}`, is: null, wanted: "action allow" };

describe("torbie check", () => {
  it("no difference: 0, and what was compared is said", async () => {
    const { exit, out, calls } = await cli(["check", "--repair"]);
    expect(exit).toBe(0);
    expect(out).toBe(
      "Compared 3 endpoints with the kernel (bpf), as directory /etc/torbie/policy says.\nThe agent runs.\nNo difference.\n",
    );
    expect(calls).toEqual([]);
  });

  it("differences: 1, one a line, names escaped, what to do about them", async () => {
    const { exit, out } = await cli(["check"], { check: () => Promise.resolve({ ...SAME, differences: [LOST] }) });
    expect(exit).toBe(1);
    expect(out).toMatch(/^map +policy +port 80 evil\\n\\u001b.* +missing +- +action allow$/m);
    expect(out).toMatch(/^1 difference; torbie check --repair puts them right\.$/m);
    expect(out).not.toMatch(/\u001b/);
  });

  it("--json has all of it, and what the agent has not taken up", async () => {
    const behind = [{ kind: "policy", id: "np:a", what: "not known to the agent" } as const];
    const found = { ...SAME, agent: { running: true, behind }, differences: [LOST, { ...LOST, key: "b" }] };
    const { exit, out } = await cli(["check", "--json"], { check: () => Promise.resolve(found) });
    expect([exit, JSON.parse(out)]).toEqual([1, { same: false, ...found }]);
    const few = await cli(["check", "--limit", "1"], { check: () => Promise.resolve(found) });
    expect(few.out).toMatch(/policy +np:a +not known to the agent[\s\S]*… and 1 more/);
  });

  it("--repair: what it wrote, what is left; 0 only if nothing is", async () => {
    let looks = 0;
    const healed = () => Promise.resolve(looks++ === 0 ? { ...SAME, differences: [LOST] } : SAME);
    const well = await cli(["check", "--repair"], { check: healed });
    expect([well.exit, well.calls]).toEqual([0, ["repair"]]);
    expect(well.out).toMatch(/Repaired by the agent: 1 writes \(1 policy\)\.\nNo difference is left\./);
    const ill = await cli(["check", "--repair", "--json"], {
      check: () => Promise.resolve({ ...SAME, differences: [LOST] }),
    });
    expect([ill.exit, JSON.parse(ill.out)]).toMatchObject([1, { same: false, left: [LOST] }]);
  });

  it("the agent's last good state in the datastore's place is said loudly", async () => {
    const { out } = await cli(["check"], {
      check: () =>
        Promise.resolve({
          ...SAME,
          against: "agent",
          dataFrom: "2026-01-01T00:00:00.000Z",
          datastore: { description: "etcd http://a", why: "refused", problems: [] },
          agent: { running: true, why: "connection lost", behind: [] },
        }),
    });
    expect(out).toMatch(/told by the agent's last good state of 2026.*etcd http:\/\/a can't be used \(refused\)/);
    expect(out).toMatch(/The agent runs, and holds: connection lost/);
  });

  it("values that can't be understood are named", async () => {
    const problems = [{ where: "/calico/x", code: "BAD", what: "no CIDR", consequence: "" }];
    const { out } = await cli(["check"], {
      check: () => Promise.resolve({ ...SAME, datastore: { ...SAME.datastore, problems } }),
    });
    expect(out).toMatch(/1 value can't be understood[^\n]*\n {2}\/calico\/x: no CIDR/);
  });

  it("statuses: nothing enforced 3, nothing to compare with 3, not root 4, a wrong flag 2, the kernel refuses 1", async () => {
    const fails = (code: string) => ({ check: () => Promise.reject(new DataplaneError(code, "why")) });
    expect(await cli(["check"], fails("NO_PINNED_STATE"))).toMatchObject({ exit: 3, err: "torbie: why\n" });
    expect(await cli(["check"], fails("NOTHING_TO_COMPARE"))).toMatchObject({ exit: 3 });
    expect(await cli(["check"], { uid: 1000 })).toMatchObject({ exit: 4 });
    expect(await cli(["check", "--fix"])).toMatchObject({ exit: 2 });
    expect(await cli(["check", "--limit", "0"])).toMatchObject({ exit: 2 });
    expect(await cli(["check"], fails("NOT_COMPARED"))).toMatchObject({ exit: 1 });
  });
});
