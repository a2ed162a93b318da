/** A running `torbie agent` on the world's compute host, followed through its log. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { AgentStatus, ApplyEvent } from "../../agent/status.js";
import { readStatus } from "../../agent/status.js";
import { TorbieError } from "../../errors.js";
import type { Problem } from "../../problems.js";
import { inPackage } from "../../root.js";
import { ended, onLines, stop, type CommandOptions } from "./command.js";
import type { Namespace } from "./namespace.js";
import { PATIENCE } from "./patience.js";
import { Workspace } from "./workspace.js";

const TORBIE = inPackage("bin/torbie");
/** Last lines of the log that an error quotes. */
const TAIL = 20;

export interface AgentSettings {
  /** Absent: `flags` name another datastore. */
  readonly policyDir?: string;
  /** Default "compute1". */
  readonly hostname?: string;
  /** More flags: ["--resync", "5s"]. */
  readonly flags?: readonly string[];
  /** What runs it, before node: ["env", "NAME=value"], ["setpriv", …]. */
  readonly prefix?: readonly string[];
  /** Another build's bin/torbie than this checkout's. */
  readonly program?: string;
}

/** A line of the log that the agent's followers care for. */
export type AgentNews =
  | { readonly type: "applied"; readonly event: ApplyEvent }
  | { readonly type: "problem"; readonly problem: Problem }
  | { readonly type: "solved"; readonly problem: Problem };

export class AgentProcess {
  private child: ChildProcess | undefined;
  private gone: Promise<void> | undefined;
  private readonly followers = new Set<(news: AgentNews) => void>();
  private readonly tail: string[] = [];
  /** bin/torbie of the build that start() runs. */
  program: string;
  /** Flags that start() adds: ["--dataplane", "iptables"]. */
  more: readonly string[] = [];

  private constructor(
    private readonly host: Namespace,
    readonly workspace: Workspace,
    private readonly settings: AgentSettings,
  ) {
    this.program = settings.program ?? TORBIE;
  }

  /** Not started yet. */
  static async create(host: Namespace, settings: AgentSettings): Promise<AgentProcess> {
    return new AgentProcess(host, await Workspace.create(), settings);
  }

  private get flags(): string[] {
    return ["--pin-dir", this.workspace.pinDir, "--run-dir", this.workspace.runDir];
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** What the log said last, for people. */
  get lastLines(): string {
    return this.tail.join("\n");
  }

  /** Calls back for every piece of news from now on. Returns what ends that. */
  follow(follower: (news: AgentNews) => void): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }

  /** Starts it; it ends with this process even if that is killed. Resolves when it runs, see `enforcing`. */
  start(): void {
    const { policyDir, hostname = "compute1", flags = [], prefix = [] } = this.settings;
    const torbie = [
      ...prefix,
      process.execPath,
      this.program,
      "agent",
      ...this.flags,
      ...(policyDir === undefined ? [] : ["--policy-dir", policyDir]),
      "--state-dir",
      join(this.workspace.directory, "state"),
      "--hostname",
      hostname,
    ];
    const child = this.host.spawn(
      ["setpriv", "--pdeathsig", "TERM", ...torbie, "--log-format", "json", ...flags, ...this.more],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.child = child;
    this.gone = ended(child);
    child.once("error", (error) => this.note(error.message));
    for (const stream of [child.stdout, child.stderr]) if (stream) onLines(stream, (line) => this.note(line));
  }

  private note(line: string): void {
    this.tail.push(line);
    if (this.tail.length > TAIL) this.tail.shift();
    const news = parse(line);
    if (news) for (const follower of [...this.followers]) follower(news);
  }

  /**
   * The first pass that fits, from now on; `what` names it in the error.
   * @throws TorbieError when the agent ends, or after `timeout` milliseconds, with the end of its log
   */
  applied(fits: (event: ApplyEvent) => boolean, what: string, timeout = 15_000): Promise<ApplyEvent> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        unfollow();
      };
      const fail = (why: string): void => {
        done();
        reject(new TorbieError("AGENT_FAILED", `the agent ${why} before ${what}:\n${this.lastLines}`));
      };
      const limit = timeout * PATIENCE;
      const timer = setTimeout(() => fail(`took ${limit} ms`), limit);
      const unfollow = this.follow((news) => {
        if (news.type !== "applied" || !fits(news.event)) return;
        done();
        resolve(news.event);
      });
      void this.gone?.then(() => fail("ended"));
    });
  }

  /** Starts it and waits until so many endpoints are in force. */
  async startEnforcing(endpoints: number): Promise<ApplyEvent> {
    this.start();
    // Whether, not when: a busy machine takes its time to start a program.
    return this.applied((event) => event.enforced >= endpoints, `${endpoints} endpoints were enforced`, 45_000);
  }

  /** Orderly; what it enforces stays enforced. */
  async stop(): Promise<void> {
    if (this.child) await stop(this.child);
    this.child = undefined;
    this.gone = undefined;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    if (this.child) await stop(this.child, "SIGKILL");
    this.child = undefined;
    this.gone = undefined;
  }

  /** The status file as the agent left it last. */
  status(): AgentStatus | undefined {
    return readStatus(this.workspace.runDir);
  }

  /** Another command of torbie on this host, about this agent: ["endpoint", "list", "--json"]. Gives its output. */
  torbie(argv: readonly string[], options?: CommandOptions): Promise<string> {
    return this.host.run([process.execPath, this.program, ...argv, ...this.flags], options);
  }

  /** Stops it and removes what it pinned. */
  async remove(): Promise<void> {
    await this.stop();
    this.workspace.remove();
  }
}

function parse(line: string): AgentNews | undefined {
  let fields: { msg?: unknown; apply?: ApplyEvent; problem?: Problem };
  try {
    fields = JSON.parse(line) as typeof fields;
  } catch {
    return undefined; // not the agent's log but, say, Node's own warning; `lastLines` keeps it
  }
  if (fields.msg === "applied" && fields.apply) return { type: "applied", event: fields.apply };
  if (fields.msg === "problem" && fields.problem) return { type: "problem", problem: fields.problem };
  if (fields.msg === "no longer a problem" && fields.problem) return { type: "solved", problem: fields.problem };
  return undefined;
}
