/** A real etcd on loopback with its data in a directory of its own. It is stopped by its pid, and the directory goes with it. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface EtcdOptions {
  /** More arguments of etcd itself. */
  readonly args?: readonly string[];
  /** What runs etcd and etcdctl: a namespace's argv. */
  readonly within?: readonly string[];
  /** Serve TLS with these files, and ask for a client's certificate. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

export class TestEtcd {
  private child: ChildProcess | undefined;
  private log: string[] = [];

  private constructor(
    readonly directory: string,
    public port: number,
    private readonly peerPort: number,
    private options: EtcdOptions,
  ) {}

  static async start(options: EtcdOptions = {}): Promise<TestEtcd> {
    const etcd = await TestEtcd.prepare(options);
    await etcd.up();
    return etcd;
  }

  /** Ports and a directory, but nothing runs. */
  static async prepare(options: EtcdOptions = {}): Promise<TestEtcd> {
    const directory = await mkdtemp(join(tmpdir(), "tb-etcd-"));
    const [port, peerPort] = await freePorts(2);
    return new TestEtcd(directory, port as number, peerPort as number, options);
  }

  get url(): string {
    return `${this.options.tls ? "https" : "http"}://127.0.0.1:${this.port}`;
  }

  get dataDirectory(): string {
    return join(this.directory, "data");
  }

  private get peerUrl(): string {
    return `http://127.0.0.1:${this.peerPort}`;
  }

  /** Starts it on what is in its data directory, and waits until it serves. */
  async up(options: EtcdOptions = this.options): Promise<void> {
    this.options = options;
    const { tls, args = [], within = [] } = options;
    const [file = "", ...before] = [...within, "etcd"];
    const child = spawn(
      file,
      [
        ...before,
        `--data-dir=${this.dataDirectory}`,
        "--name=t",
        `--listen-client-urls=${this.url}`,
        `--advertise-client-urls=${this.url}`,
        `--listen-peer-urls=${this.peerUrl}`,
        `--initial-advertise-peer-urls=${this.peerUrl}`,
        `--initial-cluster=t=${this.peerUrl}`,
        "--logger=zap",
        ...(tls ? [`--trusted-ca-file=${tls.ca}`, `--cert-file=${tls.cert}`, `--key-file=${tls.key}`] : []),
        ...(tls ? ["--client-cert-auth"] : []),
        ...args,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.child = child;
    this.log = [];
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`etcd ended with ${code}:\n${this.log.slice(-20).join("\n")}`)));
      createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
        this.log.push(line);
        if (this.log.length > 200) this.log.shift();
        if (/serving (insecure )?client (traffic|requests)/.test(line)) resolve();
      });
    });
  }

  /** As a power cut does it. */
  async kill(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** It goes on to accept connections, and answers nothing. */
  suspend(): void {
    this.child?.kill("SIGSTOP");
  }

  resume(): void {
    this.child?.kill("SIGCONT");
  }

  /** Serves the same data at another port, where nobody looks for it; etcd must be down, and is again after `end`. */
  async aside(): Promise<{ readonly url: string; readonly end: () => Promise<void> }> {
    const [port] = await freePorts(1);
    const { port: usual } = this;
    this.port = port as number;
    await this.up();
    const { url } = this;
    return {
      url,
      end: async () => {
        await this.kill();
        this.port = usual;
      },
    };
  }

  /** Forgets all data; etcd must be down. */
  async wipe(): Promise<void> {
    await rm(this.dataDirectory, { recursive: true, force: true });
  }

  /** Puts a backup (of `etcdctl snapshot save`) in the place of its data, as the same cluster; etcd must be down. */
  async restore(backup: string): Promise<void> {
    await this.wipe();
    await run(
      "etcdctl",
      [
        ...["snapshot", "restore", backup, `--data-dir=${this.dataDirectory}`, "--name=t"],
        ...[`--initial-cluster=t=${this.peerUrl}`, `--initial-advertise-peer-urls=${this.peerUrl}`],
      ],
      { env: { ...process.env, ETCDCTL_API: "3" } },
    );
  }

  /** `etcdctl` at this etcd; what it printed. */
  async ctl(...args: readonly string[]): Promise<string> {
    const { tls, within = [] } = this.options;
    const [file = "", ...before] = [...within, "etcdctl"];
    const flags = tls ? [`--cacert=${tls.ca}`, `--cert=${tls.cert}`, `--key=${tls.key}`] : [];
    const { stdout } = await run(file, [...before, `--endpoints=${this.url}`, ...flags, ...args], {
      env: { ...process.env, ETCDCTL_API: "3" },
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Ports that nobody listens on now. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
