/** A host of the recorded cloud on which Felix enforces (incumbent.ts), with guests that talk, ask for metadata and renew their leases. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { onLines, stop } from "../../src/demo/world/command.js";
import { tapMac, type Guest } from "../../src/demo/world/guest.js";
import { ROUTER, World } from "../../src/demo/world/world.js";
import { Dnsmasq } from "./dnsmasq.js";
import { Incumbent } from "./incumbent.js";
import { MetadataServer } from "./metadata.js";
import { recorded, writeRecorded, type Pair } from "./recorded.js";
import { guestOf, type EndpointSpec } from "./recorded-host.js";
import { forbidden, pings, serve, stream, type Streamed } from "./stream.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const GUESTS = {
  one: "tapa9e858a5-72",
  two: "tap82fced89-5b",
  web: "tapb44ac235-62",
  bare: "tape65db060-23",
} as const;
const HOSTNAME = "host1";
const WITH_US = ["setpriv", "--pdeathsig", "KILL"];
const UDHCPC = `#!/bin/sh
[ -n "$ip" ] && ip addr replace "$ip/\${mask:-24}" dev "$interface"
echo "$1"
`;

export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface Seen {
  readonly inside: Streamed;
  readonly outside: Streamed;
  readonly ping: { readonly sent: number; readonly received: number };
  readonly ping6: { readonly sent: number; readonly received: number };
  readonly denied: readonly { readonly sent: number; readonly came: number }[];
  /** Requests that were made one after another, and what was not the guest's own address. */
  readonly metadata: { readonly made: number; readonly wrong: readonly string[] };
  /** One download that goes on all the while: bytes that came, and milliseconds that none came. */
  readonly download: { readonly bytes: number; readonly late: number; readonly error: string };
  readonly leases: { readonly asked: number; readonly renewed: number };
}

/** RFC 4291, appendix A. */
function linkLocal(mac: string): string {
  const [a = 0, b, c, d, e, f] = mac.split(":").map((part) => parseInt(part, 16));
  const hex = (...bytes: (number | undefined)[]): string =>
    bytes.map((x = 0) => x.toString(16).padStart(2, "0")).join("");
  return `fe80::${hex(a ^ 2, b)}:${hex(c)}ff:fe${hex(d)}:${hex(e, f)}`;
}

export class TakeoverHost {
  private readonly stops: (() => Promise<unknown>)[] = [];

  private constructor(
    readonly world: World,
    readonly agent: AgentProcess,
    readonly incumbent: Incumbent,
    private readonly directory: string,
    readonly pairs: readonly Pair[],
  ) {}

  /** @param settings flags of the agent @param tools by which Felix writes: "iptables", "iptables-legacy" */
  static async create(settings: readonly string[], tools = "iptables"): Promise<TakeoverHost> {
    const directory = mkdtempSync(join(tmpdir(), "tb-takeover-"));
    const pairs = recorded("full");
    writeRecorded(pairs, directory);
    const world = await World.create();
    const flags = [...settings, "--resync", "5m"];
    const agent = await AgentProcess.create(world.host, { policyDir: directory, hostname: HOSTNAME, flags });
    const incumbent = new Incumbent(world.host, pairs, HOSTNAME, Object.values(GUESTS), tools);
    const host = new TakeoverHost(world, agent, incumbent, directory, pairs);
    try {
      await host.open();
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  private async open(): Promise<void> {
    const { world, pairs } = this;
    const specs = pairs
      .filter(({ key }) => key.includes("/workloadendpoints/"))
      .map(({ value }) => (JSON.parse(value) as { spec: EndpointSpec }).spec)
      .filter(({ node }) => node === HOSTNAME);
    for (const [name, tap] of Object.entries(GUESTS)) {
      const spec = specs.find(({ interfaceName }) => interfaceName === tap);
      if (spec === undefined) throw new Error(`no recorded endpoint of ${HOSTNAME} has ${tap}`);
      const guest = await world.addGuest(guestOf(name, spec));
      // As a router advertisement says it: Felix answers no solicitation for the subnet's own address.
      await guest.namespace.ip(`route replace ::/0 via ${linkLocal(tapMac(spec.mac))} dev eth0`);
    }
    await world.announce(
      ...["one", "two"].flatMap((name) => [`${this.guest(name).v4}/32`, `${this.guest(name).v6}/128`]),
    );
    await this.incumbent.start();
    const dnsmasq = await Dnsmasq.start(
      world.host,
      ["one", "two"].map((name) => {
        const { spec } = this.guest(name);
        return { ...spec, addresses: spec.addresses.filter((address) => address.startsWith("10.65.0.")) };
      }),
    );
    this.stops.push(() => dnsmasq.stop());
    const metadata = await MetadataServer.start(world.host, 8775, "127.0.0.1");
    this.stops.push(() => metadata.stop());
    for (const namespace of [this.guest("two").namespace, world.fabric]) {
      const server = await serve(namespace);
      this.stops.push(() => server.stop());
    }
    writeFileSync(join(this.directory, "udhcpc.sh"), UDHCPC, { mode: 0o755 });
  }

  guest(name: keyof typeof GUESTS | string): Guest {
    return this.world.guest(name);
  }

  /** What runs a command of torbie on this host with the agent's settings. */
  argv(words: readonly string[]): string[] {
    const { pinDir, runDir, directory } = this.agent.workspace;
    return [
      process.execPath,
      join(ROOT, "bin/torbie"),
      ...words,
      ...["--pin-dir", pinDir, "--run-dir", runDir, "--policy-dir", this.directory, "--hostname", HOSTNAME],
      ...["--state-dir", join(directory, "state")],
    ];
  }

  torbie(words: readonly string[], killAfter?: number): Promise<Ran> {
    const [program = "", ...rest] = this.world.host.argv([...WITH_US, ...this.argv(words)]);
    return new Promise((resolve) => {
      const child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"] });
      let [out, err] = ["", ""];
      child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
      const timer = setTimeout(() => child.kill("SIGKILL"), killAfter ?? 120_000);
      child.once("close", (status) => {
        clearTimeout(timer);
        resolve({ status: status ?? -1, out, err });
      });
    });
  }

  /** Everything of the host's kernel that the two could leave behind, without what changes by itself. */
  async dump(): Promise<Record<string, string>> {
    const run = async (...argv: string[]): Promise<string> =>
      (await this.world.host.run(argv).catch((error: unknown) => String(error)))
        .replaceAll(/^#.*\n/gm, "")
        .replaceAll(/ initval \S+/g, "")
        .replaceAll(/\[\d+:\d+\]|packets \d+ bytes \d+| (?:expires|age|used) \S+/g, "");
    const lines = (text: string): string => text.split("\n").sort().join("\n");
    const filters = await Promise.all(
      Object.values(GUESTS).flatMap((tap) =>
        ["ingress", "egress"].map((way) => run("tc", "filter", "show", "dev", tap, way)),
      ),
    );
    return {
      iptables: await run("iptables-nft-save"),
      ip6tables: await run("ip6tables-nft-save"),
      legacy: (await run("cat", "/proc/net/ip_tables_names")).trim() === "" ? "" : await run("iptables-legacy-save"),
      sets: lines(await run("ipset", "save")),
      nft: lines((await run("nft", "list", "tables")).replaceAll(/^table ip6? (?:filter|nat|mangle|raw)\n/gm, "")),
      routes: lines((await run("ip", "route")) + (await run("ip", "-6", "route"))).replaceAll(
        / pref medium| linkdown/g,
        "",
      ),
      // dnsmasq writes over that of a guest with a lease.
      neighbours: lines((await run("ip", "neigh", "show", "nud", "permanent")).replaceAll(/ proto \S+/g, ""))
        .split("\n")
        .filter((line) => !line.includes(GUESTS.one))
        .join("\n"),
      filters: filters.join("").trim(),
      proxies: (
        await Promise.all(
          Object.values(GUESTS).map((tap) =>
            run("sysctl", "-n", `net.ipv4.conf.${tap}.proxy_arp`, `net.ipv6.conf.${tap}.proxy_ndp`),
          ),
        )
      ).join(""),
    };
  }

  /** Traffic of every kind, allowed and not, while `act` happens. */
  async under(act: () => Promise<unknown>): Promise<Seen> {
    const [one, two, web] = ["one", "two", "web"].map((name) => this.guest(name)) as [Guest, Guest, Guest];
    const lease = await this.lease(one);
    const metadata = this.askMetadata(two);
    const download = this.download(one);
    const all = {
      ping: pings(one.namespace, two.v4),
      ping6: pings(two.namespace, ROUTER.v6),
      inside: await stream(one.namespace, two.v4, 1_000),
      outside: await stream(two.namespace, ROUTER.v4, 100),
      denied: await forbidden(web.namespace, one.namespace, one.v4),
      closed: await forbidden(this.world.fabric, two.namespace, two.v4),
    };
    let seen: Seen;
    try {
      await new Promise((resolve) => setTimeout(resolve, 500));
      await act();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    } finally {
      const denied = await Promise.all([all.denied.end(), all.closed.end()]);
      seen = {
        denied,
        inside: await all.inside.end(),
        outside: await all.outside.end(),
        ping: await all.ping.end(),
        ping6: await all.ping6.end(),
        metadata: await metadata(),
        download: await download(),
        leases: await lease(),
      };
    }
    return seen;
  }

  /** Requests one after another, each a connection of its own. */
  private askMetadata(guest: Guest): () => Promise<Seen["metadata"]> {
    const script = `while :; do curl -sS --noproxy '*' -m 5 http://169.254.169.254/latest || echo "exit $?"; echo; sleep 0.1; done`;
    const child = guest.namespace.spawn([...WITH_US, "sh", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
    const lines: string[] = [];
    if (child.stdout) onLines(child.stdout, (line) => line !== "" && lines.push(line));
    return async () => {
      await stop(child, "SIGKILL");
      return { made: lines.length, wrong: lines.filter((line) => line !== guest.v4) };
    };
  }

  /** Read slowly, so that one connection lasts all the while. */
  private download(guest: Guest): () => Promise<Seen["download"]> {
    const size = 60_000_000;
    const script = `
import http.client, time
c = http.client.HTTPConnection("169.254.169.254", 80, timeout=10)
c.request("GET", "/bulk/${size}")
r = c.getresponse()
n = 0
while True:
    n += len(r.read(20000))
    print(n, flush=True)
    time.sleep(0.1)
`;
    const child = guest.namespace.spawn([...WITH_US, "python3", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
    let [bytes, late] = [0, 0];
    let [last, error] = [Date.now(), ""];
    child.stderr?.on("data", (chunk: Buffer) => (error += chunk.toString()));
    if (child.stdout)
      onLines(child.stdout, (line) => {
        [bytes, late, last] = [Number(line), Math.max(late, Date.now() - last), Date.now()];
      });
    return async () => {
      late = Math.max(late, Date.now() - last);
      await stop(child, "SIGKILL");
      return { bytes, late, error };
    };
  }

  /** A lease that is renewed twice a second, with the server alone. */
  private async lease(guest: Guest): Promise<() => Promise<Seen["leases"]>> {
    const lines: string[] = [];
    const argv = ["udhcpc", "-f", "-i", "eth0", "-s", join(this.directory, "udhcpc.sh")];
    const child: ChildProcess = guest.namespace.spawn([...WITH_US, ...argv], { stdio: ["ignore", "pipe", "ignore"] });
    const bound = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no lease: ${lines.join(", ")}`)), 20_000);
      if (child.stdout)
        onLines(child.stdout, (line) => {
          lines.push(line);
          if (line !== "bound") return;
          clearTimeout(timer);
          resolve();
        });
    });
    await bound;
    let asked = 0;
    const timer = setInterval(() => {
      child.kill("SIGUSR1");
      asked++;
    }, 1_000);
    return async () => {
      clearInterval(timer);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await stop(child, "SIGKILL");
      return { asked, renewed: lines.filter((line) => line === "renew").length };
    };
  }

  async close(): Promise<void> {
    for (const end of this.stops.reverse()) await end().catch(() => undefined);
    await this.agent.remove();
    await this.world.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
