/** The same two guests behind whatever judges their packets, in the network namespace of this process. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Tap } from "../dataplane/backend.js";
import { BpfBackend } from "../dataplane/bpf/backend.js";
import { IptablesBackend } from "../dataplane/iptables/backend.js";
import { tapSettings } from "../links/sysctl-plan.js";
import type { Mac } from "../model/types.js";
import { dotted, FROM, guest6, OPEN_PORT, type CloudOptions, type Size } from "./cloud.js";
import { desiredOf } from "./desired.js";
import type { Link } from "./links.js";
import { nftPolicy } from "./nft-policy.js";

export const ROUTER_MAC = "02:00:00:00:00:01";
export const GUEST_MACS = ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02"] as const;

export interface Judged {
  readonly taps: readonly Link[];
  readonly size: Size;
  readonly options?: CloudOptions;
}

const guestsOf = (taps: readonly Link[]) =>
  taps.map(({ name }, i) => ({
    name: `g${i}`,
    tap: name,
    mac: GUEST_MACS[i] ?? "",
    address: dotted(FROM + i),
    address6: guest6(i),
  }));

const asTap = ({ name, ifindex, mac, mtu }: Link): [string, Tap] => [
  name,
  { name, ifindex, mac: mac as Mac, mtu, up: true },
];

/** More than what `remote` has room for by default needs a larger one. */
const DEFAULT_ROOM = 262_144;

export async function enforceBpf(pinDir: string, { taps, size, options }: Judged, uplink: Link): Promise<BpfBackend> {
  const room = size.members < DEFAULT_ROOM ? {} : { remoteAddresses: size.members + 1_000 };
  const backend = await BpfBackend.open({ pinDir, attach: "clsact", ...room });
  const uplinks = [{ name: uplink.name, ifindex: uplink.ifindex }];
  const { failures } = await backend.apply(desiredOf(guestsOf(taps), size, options), {
    taps: new Map(taps.map(asTap)),
    uplinks,
  });
  const [failure] = failures;
  if (failure !== undefined) throw new Error(`${failure.where}: ${failure.error.message}`);
  return backend;
}

/** Routes and neighbours of the two guests, for the kernel's own forwarding. */
export function route(taps: readonly Link[]): void {
  execFileSync("sysctl", [
    "-qw",
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=0",
    ...taps.map(({ name }) => `net.ipv4.conf.${name}.rp_filter=0`),
  ]);
  for (const [i, { name }] of taps.entries()) {
    for (const address of [dotted(FROM + i), guest6(i)]) {
      execFileSync("ip", ["route", "replace", address, "dev", name]);
      execFileSync("ip", ["neigh", "replace", address, "lladdr", GUEST_MACS[i] ?? "", "dev", name, "nud", "permanent"]);
    }
  }
}

/** Where the rest of the world is: behind a router on the uplink. */
export function routeOut({ name }: Link): void {
  for (const [gateway, everything] of [
    ["169.254.1.1", "0.0.0.0/0"],
    ["fe80::1", "::/0"],
  ] as const) {
    execFileSync("ip", ["neigh", "replace", gateway, "lladdr", ROUTER_MAC, "dev", name, "nud", "permanent"]);
    execFileSync("ip", ["route", "replace", everything, "via", gateway, "dev", name, "onlink"]);
  }
}

/** Connections are to last as long as a run does. */
export function keepConnections(): void {
  execFileSync("sysctl", ["-qw", "net.netfilter.nf_conntrack_udp_timeout=600"]);
}

export type BackEnd = "nft" | "legacy";

/** Has `iptables` mean this back end's in this process and what it starts. Throws where it is not installed. */
export function chooseBackEnd(backEnd: BackEnd): void {
  const directory = mkdtempSync(join(tmpdir(), "tb-bench-iptables-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  for (const family of ["iptables", "ip6tables"])
    for (const rest of ["", "-save", "-restore"]) {
      const found = execFileSync("which", [`${family}-${backEnd}${rest}`], { encoding: "utf8" }).trim();
      symlinkSync(found, join(directory, `${family}${rest}`));
    }
  process.env["PATH"] = `${directory}:${process.env["PATH"] ?? ""}`;
}

export async function enforceIptables({ taps, size, options }: Judged): Promise<void> {
  route(taps);
  const settings = taps.flatMap(({ name }) => tapSettings(name, "iptables")).filter(({ path }) => path[1] === "ipv4");
  execFileSync("sysctl", ["-qw", ...settings.map(({ path, value }) => `${path.join(".")}=${value}`)]);
  const backend = await IptablesBackend.open({ prefixes: ["tap"], excluded: [], markShift: 0, hostToGuest: true });
  const { failures } = await backend.apply(desiredOf(guestsOf(taps), size, options), {
    taps: new Map(taps.map(asTap)),
    uplinks: [],
  });
  const [failure] = failures;
  if (failure !== undefined) throw failure.error;
}

/** Hand-written: established connections, and one port; with `more`, rules of other ports before that one. */
export function enforceByHand(taps: readonly Link[], protocol: "tcp" | "udp", more = 0): void {
  route(taps);
  const rule = (port: number): string => `-A FORWARD -p ${protocol} --dport ${port} -j ACCEPT`;
  const lines = [
    "*filter",
    ":FORWARD DROP [0:0]",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    ...Array.from({ length: more }, (_, i) => rule(20_000 + i)),
    rule(OPEN_PORT),
    "COMMIT",
  ];
  for (const program of ["iptables-restore", "ip6tables-restore"])
    execFileSync(program, ["-w"], { input: `${lines.join("\n")}\n` });
}

export function enforceNft({ taps, size, options }: Judged): void {
  route(taps);
  execFileSync("nft", ["-f", "-"], { input: nftPolicy(guestsOf(taps), size, options) });
}
