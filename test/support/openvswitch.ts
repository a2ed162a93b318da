/** A real Open vSwitch of a namespace's own: its database, its daemon and its directory. */
import { once } from "node:events";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import { command, stop } from "../../src/demo/world/command.js";
import type { Namespace } from "../../src/demo/world/namespace.js";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

const until = (holds: () => Promise<boolean>): Promise<void> =>
  vi.waitFor(
    async () => {
      if (!(await holds())) throw new Error("Open vSwitch has not started");
    },
    { timeout: 10_000, interval: 100 },
  );

export class OpenVswitch {
  private readonly directory = mkdtempSync(join(tmpdir(), "tb-ovs-"));
  private readonly environment = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map((name) => `${name}=${this.directory}`);
  private readonly socket = `unix:${join(this.directory, "db.sock")}`;
  private database: ChildProcess | undefined;
  private daemon: ChildProcess | undefined;

  private constructor(private readonly host: Namespace) {}

  static async start(host: Namespace): Promise<OpenVswitch> {
    const one = new OpenVswitch(host);
    const file = join(one.directory, "conf.db");
    await command(["ovsdb-tool", "create", file, SCHEMA]);
    one.database = one.spawn("ovsdb-server", file, `--remote=p${one.socket}`);
    await until(() => Promise.resolve(existsSync(join(one.directory, "db.sock"))));
    await one.run("ovs-vsctl", "--no-wait", "init");
    await one.startDaemon();
    return one;
  }

  private spawn(program: string, ...words: readonly string[]): ChildProcess {
    const argv = ["setpriv", "--pdeathsig", "KILL", "env", ...this.environment, program, ...words];
    return this.host.spawn([...argv, `--pidfile=${join(this.directory, `${program}.pid`)}`], { stdio: "ignore" });
  }

  /** Again after `stopDaemon`: it makes its ports anew. */
  async startDaemon(): Promise<void> {
    this.daemon = this.spawn("ovs-vswitchd", this.socket);
    // It says what it is when it runs.
    await until(async () => (await this.vsctl("get", "Open_vSwitch", ".", "datapath_types")).includes("netdev"));
  }

  async stopDaemon(): Promise<void> {
    if (this.daemon) await stop(this.daemon);
    this.daemon = undefined;
  }

  private run(program: string, ...words: readonly string[]): Promise<string> {
    return this.host.run(["env", ...this.environment, program, ...words]);
  }

  vsctl(...words: readonly string[]): Promise<string> {
    return this.run("ovs-vsctl", "--timeout=10", `--db=${this.socket}`, ...words);
  }

  ofctl(...words: readonly string[]): Promise<string> {
    return this.run("ovs-ofctl", ...words);
  }

  async close(): Promise<void> {
    await this.stopDaemon();
    if (this.database) {
      const gone = once(this.database, "exit");
      this.database.kill("SIGTERM");
      await gone;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
