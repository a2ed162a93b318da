/** A dnsmasq as the incumbent's DHCP agent runs it: a dummy interface with the gateways' addresses, in whose name it serves the taps. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stop } from "../../src/demo/world/command.js";
import type { GuestSpec } from "../../src/demo/world/guest.js";
import type { Namespace } from "../../src/demo/world/namespace.js";

const DUMMY = "ns-net-1";
const isV6 = (address: string): boolean => address.includes(":");
const bare = (address: string): string => address.split("/")[0] ?? "";

export class Dnsmasq {
  private constructor(
    private readonly child: ChildProcess,
    private readonly directory: string,
  ) {}

  /** Of subnets 10.65.0.0/24 and 2001:db8:65::/64, whose gateways are their first addresses. */
  static async start(host: Namespace, guests: readonly GuestSpec[]): Promise<Dnsmasq> {
    const directory = mkdtempSync(join(tmpdir(), "tb-dnsmasq-"));
    const file = (name: string): string => join(directory, name);
    await host.ip(
      // A dummy device where there are such; one end of a pair serves as well.
      `link add ${DUMMY} address 02:00:00:00:00:00 type veth peer name ${DUMMY}-end`,
      `link set ${DUMMY}-end up`,
      `link set ${DUMMY} up`,
      `addr add 10.65.0.1/24 dev ${DUMMY}`,
      `addr add 2001:db8:65::1/64 dev ${DUMMY} nodad`,
      // The host goes on routing by single addresses.
      `route del 10.65.0.0/24 dev ${DUMMY}`,
      `route del 2001:db8:65::/64 dev ${DUMMY}`,
    );
    const hosts = guests.flatMap(({ name, mac, addresses }) =>
      addresses.map((address) => {
        const ip = isV6(address) ? `[${bare(address)}]` : bare(address);
        return `${mac},${name}.example.org,${ip},set:port-${name}`;
      }),
    );
    writeFileSync(file("host"), `${hosts.join("\n")}\n`);
    const names = guests.flatMap(({ name, addresses }) =>
      addresses.map((address) => `${bare(address)}\t${name}.example.org ${name}`),
    );
    writeFileSync(file("addn_hosts"), `${names.join("\n")}\n`);
    writeFileSync(
      file("opts"),
      [
        "tag:subnet-v6,option6:domain-search,openstacklocal",
        "tag:subnet-v4,option:classless-static-route,0.0.0.0/0,10.65.0.1",
        "tag:subnet-v4,option:router,10.65.0.1",
        ...guests.map(({ name, mtu = 1500 }) => `tag:port-${name},option:mtu,${mtu}`),
        "",
      ].join("\n"),
    );
    const taps = guests.map(({ tap }) => tap);
    const argv = [
      ...["setpriv", "--pdeathsig", "KILL", "dnsmasq", "--keep-in-foreground", "--user=root", "--log-facility=-"],
      ...["--no-hosts", "--no-resolv", "--except-interface=lo", `--pid-file=${file("pid")}`],
      ...[`--dhcp-hostsfile=${file("host")}`, `--addn-hosts=${file("addn_hosts")}`, `--dhcp-optsfile=${file("opts")}`],
      ...[`--dhcp-leasefile=${file("leases")}`, "--dhcp-match=set:ipxe,175", "--bind-dynamic", `--interface=${DUMMY}`],
      "--dhcp-range=set:subnet-v4,10.65.0.0,static,255.255.255.0,86400s",
      ...[
        "--dhcp-option-force=option:mtu,1500",
        "--dhcp-lease-max=16777216",
        "--conf-file=",
        "--domain=openstacklocal",
      ],
      "--dhcp-range=set:subnet-v6,2001:db8:65::,static,off-link,64,86400s",
      ...["--enable-ra", "--ra-param=ns-*,mtu:off,0"],
      ...taps.map((tap) => `--interface=${tap}`),
      `--bridge-interface=${[DUMMY, ...taps].join(",")}`,
    ];
    const child = host.spawn(argv, { stdio: ["ignore", "ignore", process.env["DNSMASQ_LOG"] ? "inherit" : "ignore"] });
    return new Dnsmasq(child, directory);
  }

  async stop(): Promise<void> {
    await stop(this.child);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
