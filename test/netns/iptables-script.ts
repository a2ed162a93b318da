/**
 * The iptables backend by itself in the namespace of this process: written, disturbed, read back, refused. Prints one JSON value.
 * Arguments: the back end ("nft" or "legacy") that "iptables" is to mean.
 */
import { execFileSync } from "node:child_process";
import { run as runProgram, type Runner } from "../../src/dataplane/run.js";
import { IptablesBackend } from "../../src/dataplane/iptables/backend.js";
import { removeRules } from "../../src/dataplane/iptables/remove.js";
import type { Tap } from "../../src/dataplane/backend.js";
import { Compiler } from "../../src/compile/compiler.js";
import { ModelStore } from "../../src/model/store.js";
import { ANYTHING, BASE, both, WEB_INGRESS } from "../conformance/world.js";
import { changes, group } from "../support/resources.js";

const mode = process.argv[2] ?? "nft";
const sh = (line: string, input?: string): string =>
  execFileSync("sh", ["-c", line], {
    encoding: "utf8",
    ...(input === undefined ? {} : { input }),
    stdio: ["pipe", "pipe", "pipe"],
  });
const tool = (name: string): string => name.replace(/^(ip6?tables)(?!-(?:nft|legacy))/, `$1-${mode}`);

/** What "iptables" means is the machine's choice; here it is ours. `fail`: the next program of that name refuses, or is missing. */
let fail: { readonly program: RegExp; readonly status: number | undefined; readonly stderr: string } | undefined;
const run: Runner = (program, args, input) => {
  const named = tool(program);
  if (fail?.program.test(named) === true && args[0] !== "save")
    return Promise.resolve({ status: fail.status, stdout: "", stderr: fail.stderr });
  return runProgram(named, args, input);
};

const store = new ModelStore(BASE.hostname);
store.apply({ type: "snapshot-begin" });
store.apply({ type: "changes", changes: changes(BASE.resources) });
store.apply({ type: "in-sync" });
const compiler = new Compiler();
compiler.apply(store.model, store.takeDelta());
const taps = new Map(
  [...BASE.taps].map(([name, { ifindex, hostMac, mtu }]): [string, Tap] => {
    sh(`ip tuntap add dev ${name} mode tap && ip link set ${name} address ${hostMac} up`);
    return [name, { name, ifindex, mac: hostMac, mtu, up: true }];
  }),
);
const interfaces = { taps, uplinks: [] };
const open = (): Promise<IptablesBackend> =>
  IptablesBackend.open({ prefixes: ["tap"], excluded: [], markShift: 0, hostToGuest: true, run });
const ipt = tool("iptables");
const state = (): string =>
  sh(`${ipt}-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'; ipset save | sort; nft list table netdev torbie_link`);

const result: Record<string, unknown> = {};
sh(
  `${ipt} -N MINE && ${ipt} -A MINE -j ACCEPT && ${ipt} -A FORWARD -j MINE && ipset create mine hash:ip && ipset add mine 192.0.2.7`,
);
let backend = await open();
result["version"] = backend.tools.version;
result["closed"] = await backend.block(interfaces);
result["first"] = await backend.apply(compiler.desired, interfaces);
const stands = state();
result["foreign kept"] = sh(`${ipt} -S FORWARD`).trim().split("\n");
result["second"] = (await backend.apply(compiler.desired, interfaces)).totalWrites;

// Somebody disturbs: our hooks, a chain, a set, nft.
const disturbances = [
  `${ipt} -D FORWARD 1`,
  `${ipt} -F FORWARD`,
  `${ipt} -t raw -F`,
  `${ipt} -I TRB-forward 1 -j ACCEPT`,
  `${ipt} -D TRB-new 1`,
  `ipset flush trb4-local`,
  `ipset add trb4-local 203.0.113.9`,
  "nft delete table netdev torbie_link",
  "nft flush chain netdev torbie_link t_tapweb1",
];
const repaired: Record<string, unknown> = {};
for (const disturbance of disturbances) {
  await backend.idle();
  sh(disturbance);
  const before = backend.drifts;
  const report = await backend.apply(compiler.desired, interfaces);
  const now = state().replace(/^.*MINE.*\n/gm, "");
  repaired[disturbance.replace(ipt, "iptables")] = {
    found: backend.drifts > before,
    same: now === stands.replace(/^.*MINE.*\n/gm, ""),
    failures: report.failures.map(({ error }) => error.message),
  };
}
result["repaired"] = repaired;

// Read ahead of the pass that looks: what somebody did before is found, and what was applied meanwhile is as it was written.
await backend.idle();
sh(`${ipt} -D TRB-new 1; ipset flush trb4-local`);
const drifted = backend.drifts;
await backend.readAhead();
const more = both({ protocol: 17, destination: { ports: [7777] } });
const change = group("web", { ingress: [...WEB_INGRESS, ...more], egress: ANYTHING });
store.apply({ type: "changes", changes: changes([change]) });
const meanwhile = await backend.apply(compiler.desired, interfaces, compiler.apply(store.model, store.takeDelta()));
const later = await backend.apply(compiler.desired, interfaces);
await backend.idle();
const fresh = await open();
result["ahead"] = {
  meanwhile: meanwhile.writes,
  found: backend.drifts - drifted,
  mended: Object.keys(later.writes).sort(),
  again: (await backend.apply(compiler.desired, interfaces)).totalWrites,
  has: sh(`${ipt}-save | grep -c 'dports 7777' || true`).trim(),
  failures: [...meanwhile.failures, ...later.failures].map(({ error }) => error.message),
};
const grown = state();
await fresh.apply(compiler.desired, interfaces);
result["same as written anew"] = state() === grown;
store.apply({ type: "changes", changes: changes(BASE.resources) });
await backend.apply(compiler.desired, interfaces, compiler.apply(store.model, store.takeDelta()));

// A new agent adopts.
backend = await open();
result["adopts"] = await backend.stands();
result["adopted"] = (await backend.apply(compiler.desired, interfaces)).failures.length;
result["same after adoption"] = state().replace(/^.*MINE.*\n/gm, "") === stands.replace(/^.*MINE.*\n/gm, "");

// Refusals: what stands stays, the error names the line, the next pass succeeds.
const refusals: Record<string, unknown> = {};
for (const [name, program, stderr, status] of [
  ["restore fails midway", /^iptables-\w+-restore/, "iptables-restore: line 3 failed", 1],
  ["lock", /^iptables-\w+-restore/, "Another app is currently holding the xtables lock; still 4s 0us time ahead", 4],
  ["set full", /^ipset/, "ipset v7.17: Error in line 1: Hash is full, cannot add more elements", 1],
  ["program gone", /^ip6tables-\w+-restore/, "", undefined],
] as const) {
  sh(`${ipt} -D TRB-new 1; ip6tables-${mode} -D TRB-new 1; ipset flush trb4-local`);
  const disturbed = state();
  fail = { program, stderr, status };
  const report = await backend.apply(compiler.desired, interfaces);
  fail = undefined;
  const [failure] = report.failures;
  refusals[name] = {
    where: failure?.where,
    code: (failure?.error as { code?: string } | undefined)?.code,
    what: failure?.error.message,
    stands:
      name === "set full" || name === "program gone"
        ? true
        : state().includes("TRB-forward") && disturbed.includes("TRB-forward"),
    enforced: report.enforced.size,
  };
  const next = await backend.apply(compiler.desired, interfaces);
  refusals[`after ${name}`] = {
    failures: next.failures.length,
    same: state().replace(/^.*MINE.*\n/gm, "") === stands.replace(/^.*MINE.*\n/gm, ""),
  };
}
result["refusals"] = refusals;

// Really too big a set, as the kernel says it.
sh("ipset create full hash:ip maxelem 1 && ipset add full 192.0.2.1");
result["kernel says full"] = await runProgram("ipset", ["restore"], "add full 192.0.2.2\n").then(({ stderr }) =>
  stderr.trim(),
);
sh("ipset destroy full");

// The other back end holds rules as well.
const other = mode === "nft" ? "legacy" : "nft";
sh(`iptables-${other} -A FORWARD -s 192.0.2.9 -j DROP`);
await backend.apply(compiler.desired, interfaces);
result["both"] = backend.problems();
sh(`iptables-${other} -F FORWARD`);

for (const [name, answer] of [
  ["missing", { status: undefined, stdout: "", stderr: "" }],
  ["old", { status: 0, stdout: "iptables v1.4.21", stderr: "" }],
] as const)
  result[name] = await IptablesBackend.open({
    prefixes: ["tap"],
    excluded: [],
    markShift: 0,
    hostToGuest: true,
    run: (program, args, input) => (program === "iptables" ? Promise.resolve(answer) : run(program, args, input)),
  }).then(
    () => "opened",
    (error: unknown) => `${(error as { code: string }).code}: ${(error as Error).message}`,
  );

result["removed"] = await removeRules(run);
result["left"] = sh(`${ipt}-save | grep -c TRB- || true; ipset list -n; nft list tables`).trim().split("\n");
console.log(JSON.stringify(result));
