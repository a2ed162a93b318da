/** Child of attach.test.ts, inside a network namespace: what happens on hooks, as one JSON object. Arguments: pin directory, mode. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { BpfProgram, clsact, tcx } from "#libbpf";
import { queryHook } from "../../src/dataplane/bpf/attach.js";
import { BpfBackend } from "../../src/dataplane/bpf/backend.js";
import { cleanup } from "../../src/dataplane/bpf/cleanup.js";
import { stateOf } from "../support/desired.js";
import type { Interfaces } from "../../src/dataplane/backend.js";
import type { Mac } from "../../src/model/types.js";

const [pinDir = "", mode = "clsact"] = process.argv.slice(2);
const attach = mode === "tcx" ? "tcx" : "clsact";
const objects = [`${process.cwd()}/build/tap-modern.bpf.o`, `${process.cwd()}/build/tap.bpf.o`];
const ip = (...args: string[]): void => void execFileSync("ip", args);
const add = (name: string): number => {
  ip("tuntap", "add", "dev", name, "mode", "tap");
  return Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"));
};
const hooks = (ifindex: number): string[] =>
  (["ingress", "egress"] as const).flatMap((direction) =>
    queryHook(ifindex, direction).map(({ name, kind }) => `${direction} ${kind} ${name}`),
  );

const tap = add("tapx");
const uplink = add("up0");
const other = add("other0");
const interfaces: Interfaces = {
  taps: new Map([["tapx", { name: "tapx", ifindex: tap, mac: "02:00:00:00:00:01" as Mac, mtu: 1500, up: true }]]),
  uplinks: [{ name: "up0", ifindex: uplink }],
};
const empty = stateOf({});
const result: Record<string, unknown> = {};

let backend = await BpfBackend.open({ pinDir, objects, flows: 64, attach });
result["blocked"] = await backend.block(interfaces);
result["hooks"] = [hooks(tap), hooks(uplink), hooks(other)];
const program = backend.objects.programs.get("uplink_ingress");
if (program === undefined) throw new Error("no program");
clsact.attach({ ifindex: tap, direction: "ingress", program, priority: 7, handle: 9 });
result["foreign"] = backend.foreign(interfaces);
result["again"] = (await backend.apply(empty, interfaces)).writes["attach"] ?? 0;
await backend.close();

// Whatever a restart finds is adopted; what someone took off is put back.
backend = await BpfBackend.open({ pinDir, objects, flows: 64, attach });
result["adopted"] = (await backend.apply(empty, interfaces)).writes["attach"] ?? 0;
if (attach === "clsact") {
  execFileSync("tc", ["filter", "del", "dev", "tapx", "egress"]);
  result["put back"] = (await backend.apply(empty, interfaces)).writes["attach"] ?? 0;
} else {
  result["tcx"] = tcx.query(tap, "egress").map(({ name }) => name);
}
const gone = {
  taps: new Map([["gone", { name: "gone", ifindex: 99_999, mac: "02:00:00:00:00:02" as Mac, mtu: 1500, up: true }]]),
  uplinks: [],
};
const report = await backend.apply(empty, { ...gone, taps: new Map([...gone.taps, ...interfaces.taps]) });
result["failures"] = report.failures.map(({ where }) => where);
result["uplink released"] = hooks(uplink);
await backend.close();
clsact.attach({
  ifindex: other,
  direction: "ingress",
  program: BpfProgram.open(`${pinDir}/programs/uplink_ingress`),
  priority: 5,
  handle: 1,
});
result["cleanup"] = cleanup(pinDir);
result["after"] = [hooks(tap), hooks(uplink), hooks(other)];
console.log(JSON.stringify(result));
