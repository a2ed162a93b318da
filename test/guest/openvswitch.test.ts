/**
 * Ports of Open vSwitch's kernel datapath, which this machine's kernel need not have: a real one in a guest whose kernel does, and what
 * Torbie takes its interfaces for.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Namespace } from "../../src/demo/world/namespace.js";
import { DEFAULT_TAP_RULE, whyNotOurs } from "../../src/links/ours.js";
import { guestSpec } from "../support/guests.js";
import { makeImage } from "./image.js";
import { Machine } from "./machine.js";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";
const VSCTL = "real-ovs-vsctl --timeout=20 --db=unix:/run/db.sock";

interface Shown {
  readonly ifindex: number;
  readonly ifname: string;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

let host: Namespace;
let machine: Machine | undefined;

beforeAll(async () => {
  host = await Namespace.create("host");
  const image = makeImage("initramfs-openvswitch", {
    programs: ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ip"],
    modules: ["openvswitch", "veth", "tun"],
    files: [SCHEMA],
  });
  machine = await Machine.boot(host, guestSpec("switch", 11), image);
});
afterAll(async () => {
  await machine?.remove();
  await host?.remove();
});

it("a tap and a veth that are its ports, and a port of its own, are not ours; others are", async () => {
  const run = async (line: string): Promise<string> => (await machine?.run(line)) ?? "";
  await run("for module in /extra/*; do insmod $module || exit 1; done");
  await run("mkdir -p /run /dev/net && { [ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200; }");
  await run(`real-ovsdb-tool create /run/conf.db ${SCHEMA}`);
  const daemon = (line: string): Promise<string> =>
    run(`OVS_RUNDIR=/run OVS_LOGDIR=/run ${line} --detach --pidfile --log-file --no-chdir`);
  await daemon("real-ovsdb-server /run/conf.db --remote=punix:/run/db.sock");
  await run(`${VSCTL} --no-wait init`);
  await daemon("real-ovs-vswitchd unix:/run/db.sock");
  await run("real-ip link add tapswitch type veth peer name far");
  for (const tap of ["tapvm", "tapguest"]) await run(`real-ip tuntap add ${tap} mode tap`);
  await run(`${VSCTL} add-br br-int`);
  for (const port of ["tapswitch", "tapvm"]) await run(`${VSCTL} add-port br-int ${port}`);
  await run(`${VSCTL} add-port br-int tapdhcp -- set interface tapdhcp type=internal`);

  const shown = JSON.parse(await run("real-ip -j -d link")) as Shown[];
  const index = (name: string | undefined): number => shown.find(({ ifname }) => ifname === name)?.ifindex ?? 0;
  const why = (name: string): string | undefined => {
    const { ifname, master, linkinfo } = shown.find((one) => one.ifname === name) as Shown;
    const link = { name: ifname, kind: linkinfo?.info_kind ?? "", master: index(master) };
    return whyNotOurs(link, DEFAULT_TAP_RULE);
  };
  const port = `it is a port of interface ${index("ovs-system")}`;
  expect(["tapdhcp", "tapswitch", "tapvm", "tapguest"].map(why)).toEqual([
    "it is of kind openvswitch",
    port,
    port,
    undefined,
  ]);
  expect(machine?.splats()).toEqual([]);
});
