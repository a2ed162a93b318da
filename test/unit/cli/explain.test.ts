/** explain's pure parts: what is asked, as which frame, what counts as agreement; the programs themselves: test/conformance, test/netns. */
import { describe, expect, test } from "vitest";
import { EXIT } from "../../../src/cli/command.js";
import { agree, verdictOfWalk } from "../../../src/cli/explain-agreement.js";
import { checksum, frameOf } from "../../../src/cli/explain-frame.js";
import { questionOf, questionText, type Host } from "../../../src/cli/explain-question.js";
import { sectionsOf, verdictText, type Namer } from "../../../src/cli/explain-text.js";
import { portsOf } from "../../../src/cli/ports.js";
import { parseIp } from "../../../src/compile/evaluate-frame.js";
import { decodeStep, type Step, type Walk } from "../../../src/dataplane/bpf/walk.js";
import { encode } from "../../../src/abi/codec.js";
import { Finding, FlowState, Reason, StepKind } from "../../../src/abi/layout.gen.js";
import type { Address, EndpointId, Mac } from "../../../src/model/types.js";
import { cli, ENDPOINTS, HOSTILE } from "./fake.js";

const ports = portsOf(
  ENDPOINTS,
  new Map([
    [101, "tap1a2b3c4d-01"],
    [102, "tap1a2b3c4d-02"],
  ]),
);
const host: Host = {
  ports,
  ownerOf: (address) => (address === "10.65.0.2" ? 2 : undefined),
  addresses: new Set(["127.0.0.1", "192.0.2.1"]),
};
const ask = (flags: Record<string, string>) => questionOf({ flags: new Map(Object.entries(flags)) }, host);
const mac = "fa:16:3e:00:00:01" as Mac;
const walk = (steps: readonly Step[], verdict: Walk["verdict"] = "redirect"): Walk => ({
  steps,
  cut: false,
  verdict,
  frame: Buffer.alloc(0),
});

describe("the question", () => {
  test("ports stand for their addresses, and an address for the port that has it", () => {
    expect(ask({ from: "tap1a2b3c4d-01", to: "10.65.0.2", port: "80" })).toMatchObject({
      family: 4,
      protocol: 6,
      from: { address: "10.65.0.1", port: { number: 1 } },
      to: { address: "10.65.0.2", port: { number: 2 } },
      sourcePort: 49_152,
      tcpFlags: 2,
    });
    expect(ask({ from: "host", to: "tap1a2b3c4d-01", proto: "icmp" })).toMatchObject({
      fromHost: true,
      from: { address: "192.0.2.1" },
      icmp: { type: 8, code: 0 },
    });
    expect(questionText(ask({ from: "tap1a2b3c4d-01", to: "9.9.9.9", proto: "udp", port: "53" }))).toBe(
      "udp 10.65.0.1:49152 -> 9.9.9.9:53",
    );
  });
  test.each([
    [{ to: "tap1a2b3c4d-01", port: "1" }, "--from is missing"],
    [{ from: "tap1a2b3c4d-01", to: "9.9.9.9" }, "--proto is missing"],
    [{ from: "tap1a2b3c4d-01", to: "9.9.9.9", proto: "udp" }, "--port is missing"],
    [{ from: "tap1a2b3c4d-01", to: "9.9.9.9", port: "65536" }, "from 0 to 65535"],
    [{ from: "tap1a2b3c4d-01", to: "9.9.9.9", port: "1", "icmp-type": "8" }, "makes no sense with tcp"],
    [{ from: "tap1a2b3c4d-01", to: "9.9.9.9", port: "1", ipv6: "" }, "contradict"],
    [{ from: "tap1a2b3c4d-01", to: "fd00::1", port: "1" }, "no IPv6 address"],
    [{ from: "host", to: "fd00::1", port: "1" }, "no IPv6 address of its own"],
    [{ from: "8.8.8.8", to: "9.9.9.9", port: "1" }, "neither end"],
    [{ from: "tap1a2b3c4d-01", to: "9.9.9.9", port: "1", "source-address": HOSTILE }, "is no address"],
    [{ from: HOSTILE, to: "9.9.9.9", port: "1" }, "no port"],
  ])("refuses %j", (flags, message) => {
    expect(() => ask(flags as unknown as Record<string, string>)).toThrow(message);
  });
});

describe("the frame", () => {
  test.each([4, 6] as const)("is what the reference parser reads, IPv%i", (family) => {
    const ends = family === 4 ? (["10.65.0.1", "9.9.9.9"] as const) : (["2001:db8::1", "2001:db8::2"] as const);
    const [source, destination] = ends as readonly [string, string] as unknown as readonly [Address, Address];
    const common = {
      family,
      source,
      destination,
      sourceMac: mac,
      destinationMac: mac,
      sourcePort: 4000,
      destinationPort: 80,
    };
    for (const protocol of [6, 17, 132, 33, 136]) {
      const frame = frameOf({ ...common, protocol, tcpFlags: 2 });
      expect(parseIp(frame.subarray(14), family)).toMatchObject({
        source,
        destination,
        protocol,
        ports: { source: 4000, destination: 80 },
      });
    }
    const icmp = frameOf({ ...common, protocol: family === 4 ? 1 : 58, tcpFlags: 0, icmp: { type: 128, code: 3 } });
    expect(parseIp(icmp.subarray(14), family)).toMatchObject({ icmp: { type: 128, code: 3, id: 1 } });
    if (family === 4) expect(checksum(icmp.subarray(14, 34))).toBe(0);
  });
});

describe("steps", () => {
  test("are decoded by the generated layout", () => {
    const bytes = (kind: number, endpoint: number, number: readonly number[]) =>
      encode("step", { kind, endpoint, number });
    expect(decodeStep(bytes(StepKind.STEP_DROP, 3, [Reason.POLICY_INGRESS]))).toMatchObject({
      step: "drop",
      endpoint: 3,
      reason: "POLICY_INGRESS",
    });
    const flow = [Finding.FINDING_OTHER_SENDER, FlowState.FLOW_ESTABLISHED, 8];
    expect(decodeStep(bytes(StepKind.STEP_FLOW, 0, flow))).toEqual({
      step: "flow",
      finding: "other sender",
      state: "established",
      host: false,
      rule: 8,
    });
    expect(decodeStep(bytes(99, 0, []))).toBeUndefined();
  });

  test("become sentences in which nothing hostile is alive", () => {
    const namer: Namer = {
      port: () => "tap1",
      policies: () => [HOSTILE],
      interface: () => "eth0",
      name: () => HOSTILE,
      called: (id) => id,
    };
    const sections = sectionsOf(
      walk([
        { step: "judge", endpoint: 1, direction: "ingress", policySet: 4 },
        { step: "class", number: 20, by: "address" },
        { step: "plane", endpoint: 1, plane: 0, action: "deny", rule: 0 },
        { step: "drop", endpoint: 1, reason: "POLICY_INGRESS", sentence: "No rule." },
      ]),
      ask({ from: "tap1a2b3c4d-01", to: "10.65.0.2", port: "80" }),
      namer,
    );
    const text = sections.flatMap(({ lines }) => lines.map((line) => line.text)).join("|");
    expect(text).toContain("missing: a rule for ingress, IPv4, tcp to port 80, from 10.65.0.1");
    expect(text).toContain("dropped: POLICY_INGRESS");
    expect(text).not.toMatch(/[\u0000-\u001f]/);
  });
});

describe("agreement", () => {
  const id = "ns/one" as EndpointId;
  const idOf = (number: number): EndpointId | undefined => (number === 1 ? id : undefined);
  const drop = (reason: string) => ({ what: "drop", reason, endpoint: id }) as const;
  test("the last step is the verdict", () => {
    const dropped: Step = { step: "drop", endpoint: 1, reason: "SELF", sentence: "" };
    expect(verdictOfWalk(walk([dropped], "drop"), idOf, undefined)).toEqual(drop("SELF"));
    expect(verdictOfWalk(walk([{ step: "to tap", endpoint: 1, ifindex: 9 }]), idOf, undefined)).toEqual({
      what: "deliver",
      endpoint: id,
    });
    expect(verdictOfWalk(walk([{ step: "to stack", endpoint: 0, nat: false }], "pass"), idOf, undefined)).toEqual({
      what: "forward",
    });
    expect(verdictOfWalk(walk([], "pass"), idOf, 1)).toEqual({ what: "deliver", endpoint: id });
    expect(verdictOfWalk(walk([], "pass"), idOf, undefined)).toEqual({ what: "host" });
    expect(verdictText(drop("SELF"), { called: () => "tap1" })).toBe("dropped at tap1: SELF");
  });
  test("is of verdict, reason and place; of what only the kernel knows there is none", () => {
    expect(agree(drop("POLICY_INGRESS"), drop("POLICY_INGRESS"))).toBe(true);
    expect(agree(drop("POLICY_INGRESS"), drop("POLICY_EGRESS"))).toBe(false);
    expect(agree(drop("NO_ROUTE"), drop("HOST_UNREACHABLE_TO_GUEST"))).toBe(true);
    expect(agree(drop("POLICY_INGRESS"), { what: "deliver", endpoint: id })).toBe(false);
    expect(agree({ what: "deliver", endpoint: id }, { what: "deliver", endpoint: "ns/other" as EndpointId })).toBe(
      false,
    );
    expect(agree({ what: "forward" }, { what: "stack" })).toBe(true);
    expect(agree(drop("FLOW_TABLE_FULL"), { what: "forward" })).toBeUndefined();
  });
});

test("the command's own errors have a status", async () => {
  expect((await cli(["explain"])).exit).toBe(EXIT.usage);
  expect((await cli(["explain", "--from", "nobody", "--to", "host", "--port", "1"])).exit).toBe(EXIT.absent);
  expect((await cli(["explain", "--from", "a", "--to", "b", "--port", "1"], { pinned: false })).exit).toBe(EXIT.absent);
});
