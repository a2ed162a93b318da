/** A compute host changes from Felix to Torbie and back while its guests talk, on both of our dataplanes: nobody notices, nothing is left. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TakeoverHost, type Ran, type Seen } from "../support/takeover-host.js";

const ITS = /cali|felix/i;

/**
 * Established flows go on without a packet lost; of those that began in the milliseconds of the swap, some needed to try again.
 * @param silent packets of 1,000 a second that may be lost towards guests at once, since their taps were silent
 */
function expectNobodyNoticed(seen: Seen, silent = 0): void {
  const { inside, outside, ping, ping6, denied, metadata, download, leases } = seen;
  // The last one may still be on its way when ping is told to end.
  const lost = ({ sent, received }: Seen["ping"]): number => Math.max(0, sent - received - 1 - silent / 10);
  const few = ({ lost: count, which }: Seen["inside"]["udp"]): boolean =>
    count <= silent && (which.at(-1) ?? 0) - (which[0] ?? 0) <= silent;
  const flows = ({ udp, tcp, connections, asked }: Seen["inside"]): object => ({
    udp: few(udp) ? [0, []] : [udp.lost, udp.which],
    tcp: tcp.error,
    failed: connections.failed,
    slow: connections.slow + asked.unanswered <= 20 ? 0 : connections.slow + asked.unanswered,
  });
  const well = { udp: [0, []], tcp: "", failed: 0, slow: 0 };
  expect({
    inside: flows(inside),
    outside: flows(outside),
    ping: [lost(ping), lost(ping6)],
    passed: denied.map(({ came }) => came),
    metadata: metadata.wrong,
    download: download.error,
    renewals: leases.asked - leases.renewed,
  }).toEqual({
    ...{ inside: well, outside: well, ping: [0, 0], passed: [0, 0], metadata: [], download: "", renewals: 0 },
  });
  for (const { sent } of denied) expect(sent).toBeGreaterThan(100);
  for (const { udp, tcp } of [inside, outside]) expect(Math.min(udp.sent, 10 * tcp.words)).toBeGreaterThan(100);
  expect(Math.min(ping.sent, ping6.sent)).toBeGreaterThan(100);
  expect(metadata.made).toBeGreaterThan(5);
  expect(download.bytes).toBeGreaterThan(100_000);
  expect(download.late).toBeLessThan(5_000);
  expect(leases.asked).toBeGreaterThan(1);
}

const succeeded = (ran: Ran): Ran => {
  expect({ status: ran.status, err: ran.err }).toEqual({ status: 0, err: "" });
  return ran;
};

/** The kernel silences an interface for some milliseconds when it is given a qdisc; tcx needs none. */
const SILENT = 40;
/** Of the time that it takes, after which it is killed. */
const PARTS = [0.3, 0.45, 0.6, 0.7, 0.8, 0.9];
const VARIANTS = [
  { name: "BPF", dataplane: "bpf", settings: [], silent: SILENT },
  { name: "BPF by tcx", dataplane: "bpf", settings: ["--attach", "tcx"], silent: 0 },
  { name: "iptables", dataplane: "iptables", settings: [], silent: 0 },
] as const;

describe.each(VARIANTS)(
  "in the place of Felix: $name",
  { timeout: 240_000 },
  ({ dataplane, settings: more, silent }) => {
    let host: TakeoverHost;
    let before: Record<string, string>;
    /** Milliseconds, under the same load. */
    const took = { takeover: 6_000, handback: 3_000 };
    const settings = ["--dataplane", dataplane, ...more];

    beforeAll(async () => {
      host = await TakeoverHost.create(settings);
      before = await host.dump();
    }, 120_000);
    afterAll(() => host?.close());

    it("Felix enforces, as the test has it", async () => {
      expectNobodyNoticed(await host.under(() => Promise.resolve()));
      expect(Object.values(before).filter((text) => ITS.test(text)).length).toBeGreaterThan(2);
    });

    it("--dry-run says what would be done, and changes nothing", async () => {
      const { out } = succeeded(await host.torbie(["takeover", "--dry-run", ...settings]));
      expect(out).toMatch(/Torbie enforces 4 endpoints/);
      expect(out).toMatch(/Remove from iptables-nft filter: \d+ chains and 5 rules that lead there/);
      expect(out).toMatch(/Nothing was changed/);
      expect(await host.dump()).toEqual(before);
    });

    it("takeover: nobody notices, and nothing of Felix's is left", async () => {
      let ran: Ran | undefined;
      const seen = await host.under(async () => {
        const began = Date.now();
        ran = await host.torbie(["takeover", ...settings]);
        took.takeover = Date.now() - began;
      });
      succeeded(ran as Ran);
      expectNobodyNoticed(seen, silent);
      const { iptables, ip6tables, legacy, sets, routes, filters } = await host.dump();
      for (const text of [iptables, ip6tables, legacy, sets, filters]) expect(text).not.toMatch(ITS);
      expect(routes).not.toMatch(/dev tap\S+ proto (?:boot|80)/);
      expect(routes).not.toMatch(/^\S+ dev tap\S+ scope link metric 1024$/m);
    });

    it("again: there is nothing to do", async () => {
      expect(succeeded(await host.torbie(["takeover", ...settings])).out).toMatch(/Nothing of Felix's is on this host/);
    });

    it("the agent adopts what enforces", async () => {
      const seen = await host.under(async () => {
        await host.agent.startEnforcing(4);
        await host.agent.stop();
      });
      expectNobodyNoticed(seen);
    });

    it("handback refuses while no rules of Felix's stand", async () => {
      const ran = await host.torbie(["handback", "--wait", "1", ...settings]);
      expect(ran.status).toBe(6);
      expect(ran.err).toMatch(/no rules of Felix's judge .* start it/s);
    });

    it("Felix starts beside, handback: nobody notices, and nothing of Torbie's is left", async () => {
      let ran: Ran | undefined;
      const seen = await host.under(async () => {
        await host.incumbent.start();
        const began = Date.now();
        ran = await host.torbie(["handback", ...settings]);
        took.handback = Date.now() - began;
      });
      succeeded(ran as Ran);
      expectNobodyNoticed(seen);
      expect(await host.dump()).toEqual(before);
      expect(succeeded(await host.torbie(["handback", ...settings])).out).toMatch(/Nothing of Torbie's/);
    });

    it("killed again and again on the way there and back: it is finished, and nothing was open", async () => {
      const seen = await host.under(async () => {
        for (const part of PARTS) await host.torbie(["takeover", ...settings], part * took.takeover);
        succeeded(await host.torbie(["takeover", ...settings]));
        await host.incumbent.start();
        for (const part of PARTS) await host.torbie(["handback", ...settings], part * took.handback);
        succeeded(await host.torbie(["handback", ...settings]));
      });
      expectNobodyNoticed(seen);
      expect(await host.dump()).toEqual(before);
    });
  },
);
