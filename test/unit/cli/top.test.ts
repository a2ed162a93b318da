import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cut } from "../../../src/cli/output.js";
import { parsePacketCounts, ratesBetween, type Look } from "../../../src/cli/top.js";
import { cli } from "./fake.js";

const port = (name: string, more: Partial<Look["ports"][number]> = {}): Look["ports"][number] => ({
  name,
  id: `id-${name}`,
  flows: 1,
  opened: 10,
  refused: 0,
  dropped: 0n,
  packets: { received: 100, sent: 50 },
  ...more,
});
const look = (at: number, ...ports: Look["ports"]): Look => ({ at, limit: 100, ports });

describe("rates", () => {
  it("are a second, the busiest first; what a tap receives the guest has sent", () => {
    const before = look(0, port("a"), port("b"), port("c", { packets: undefined }));
    const now = look(
      2000,
      port("a", { packets: { received: 104, sent: 50 }, opened: 12, dropped: 6n }),
      port("b", { packets: { received: 100, sent: 90 }, flows: 7 }),
      port("c"),
    );
    expect(ratesBetween(before, now)).toMatchObject([
      { port: "b", sent: 0, received: 20, flows: 7 },
      { port: "a", sent: 2, dropped: 3, newFlows: 1 },
      { port: "c", sent: null, received: null },
    ]);
  });
  it("a counter that began anew, and a port that was not there, have none", () => {
    const now = look(1000, port("a", { packets: { received: 1, sent: 1 }, opened: 1 }), port("new"));
    expect(ratesBetween(look(0, port("a")), now)).toMatchObject([
      { sent: 0, received: 0, newFlows: 0 },
      { sent: 0, newFlows: 0 },
    ]);
  });
});

it("counts are read as the kernel prints them", () => {
  const text =
    "Inter-| Receive\n face |bytes\n  tap1: 700 7 0 0 0 0 0 0 500 5 0 0 0 0 0 0\nlo:1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n";
  expect([...parsePacketCounts(text)]).toEqual([
    ["tap1", { received: 7, sent: 5 }],
    ["lo", { received: 2, sent: 4 }],
  ]);
});

describe("torbie top", () => {
  const going = (looks: number) => {
    let left = looks;
    let now = 0;
    return { pause: () => Promise.resolve(left-- > 0), now: () => (now += 1000) };
  };
  it("without a terminal: plain lines for each look, no escape sequences", async () => {
    const { exit, out } = await cli(["top"], going(2));
    expect(exit).toBe(0);
    expect(out.match(/^torbie top {2}3 ports/gm)).toHaveLength(2);
    expect(out).toMatch(/^tap1a2b3c4d-01 +0 +0 +0 +0 +0 +3 +0\.0%$/m);
    expect(out).not.toContain("\u001b");
  });
  it("--once looks for one interval; --json prints an object a line", async () => {
    const { out } = await cli(["top", "--once", "--json"], going(9));
    expect(JSON.parse(out)).toMatchObject({ flows: 9, limit: 262144, ports: [{ flows: 3 }, {}, {}] });
  });
  it("on a terminal: in place, as many ports as fit, cut to its width, and what was there comes back", async () => {
    const terminal = () => ({ rows: 6, columns: 40 });
    const { out } = await cli(["top"], { ...going(2), terminal });
    expect(out.startsWith("\u001b[?1049h")).toBe(true);
    expect(out.endsWith("\u001b[?25h\u001b[?1049l")).toBe(true);
    expect(out).toContain("and 1 more ports");

    for (const line of out.split(/\r\n|\u001b\[H/))
      expect(line.replaceAll(/\u001b\[[\d?]*[A-Za-z]/g, "").length).toBeLessThanOrEqual(40);
  });
  it("colours take no room: a coloured line is cut where a plain one is", async () => {
    const terminal = () => ({ rows: 6, columns: 40 });
    const [plain, coloured] = await Promise.all(
      [false, true].map(async (colours) => (await cli(["top"], { ...going(1), terminal, colours })).out),
    );
    expect(coloured).toContain("\u001b[1m");
    const bare = (text = ""): string => text.replaceAll(/\u001b\[\d+m/g, "");
    expect(bare(coloured)).toBe(bare(plain));
    expect(
      bare(coloured)
        .split("\r\n")[0]
        ?.replaceAll(/\u001b\[[\d?]*[A-Za-z]/g, ""),
    ).toHaveLength(40);
  });
  it("a cut line shows what fits, and every colour in it comes to its end", () => {
    const piece = fc.tuple(fc.constantFrom("", "1", "31", "0"), fc.stringMatching(/^[a-z ]*$/));
    fc.assert(
      fc.property(fc.array(piece), fc.nat(60), (pieces, width) => {
        const line = pieces.map(([code, text]) => (code === "" ? text : `\u001b[${code}m${text}\u001b[0m`)).join("");
        const plain = pieces.map(([, text]) => text).join("");
        const codes = (text: string): string[] => text.match(/\u001b\[\d+m/g) ?? [];
        expect(cut(line, width).replaceAll(/\u001b\[\d+m/g, "")).toBe(plain.slice(0, width));
        expect(codes(cut(line, width))).toEqual(codes(line));
      }),
    );
  });
  it("an error gives the terminal back too", async () => {
    let looks = 0;
    const { exit, out } = await cli(["top"], {
      ...going(3),
      terminal: () => ({ rows: 24, columns: 80 }),
      interfaceNames: () => (looks++ === 0 ? Promise.resolve(new Map()) : Promise.reject(new Error("gone"))),
    });
    expect(exit).toBe(1);
    expect(out.endsWith("\u001b[?25h\u001b[?1049l")).toBe(true);
  });
  it("nothing pinned: 3, and the terminal is left alone", async () => {
    const { exit, out } = await cli(["top"], { pinned: false, terminal: () => ({ rows: 24, columns: 80 }) });
    expect([exit, out]).toEqual([3, ""]);
    expect(await cli(["top", "--interval", "0"])).toMatchObject({ exit: 2 });
  });
});
