/** What the agent remembers of its etcd, kept in step with the identity file without writing it at every change. */
import type { Problem } from "../problems.js";
import { escape, printable } from "../text.js";
import { judge, type Found, type Identity, type IdentityFile } from "./etcd-identity.js";

/** Milliseconds: how far the file may lag behind. A backup that was taken within them, and restored, is not recognised after a crash. */
const LAG = 5_000;
/** How many times as long the time in it may stand still while nothing changes in etcd. */
const QUIET_TICKS = 12;

export class EtcdMemory {
  private now: Identity | undefined;
  private written: Identity | undefined;
  private timer: NodeJS.Timeout | undefined;
  private quietTicks = 0;
  private writing: Promise<void> = Promise.resolve();

  /** @param onProblems what is wrong with the file now, whenever that changes */
  constructor(
    private readonly file: IdentityFile,
    private readonly onProblems: (problems: readonly Problem[]) => void,
    private readonly clock: () => Date = () => new Date(),
  ) {}

  get known(): Identity | undefined {
    return this.now;
  }

  /** Reads what a former agent left; what is wrong with it is told by judge(). */
  async open(): Promise<void> {
    this.now = await this.file.read().catch(() => undefined);
    this.written = this.now;
    this.timer = setInterval(() => this.tick(), LAG);
    this.timer.unref();
  }

  /** Why nothing of this etcd may be applied. Reads the file again: torbie datastore accept writes it. */
  async judge(found: Found): Promise<Problem | undefined> {
    await this.writing;
    try {
      const known = await this.file.read();
      if (known !== this.written) this.now = this.written = known;
    } catch (error) {
      return {
        where: escape(this.file.path),
        code: "IDENTITY_UNREADABLE",
        what: `which cluster is enforced cannot be told: ${printable(messageOf(error))}`,
        consequence: "what is enforced stays as it is; if this etcd is the right one: torbie datastore accept",
      };
    }
    const problem = judge(this.now, found);
    if (problem?.code === "RESTORED_BACKUP" && this.now !== undefined && this.now.restored === undefined)
      await this.write({ ...this.now, restored: problem.what });
    return problem;
  }

  /** A snapshot of it was handed on. */
  async applied({ clusterId, revision, cluster }: Found): Promise<void> {
    const guid = cluster?.guid;
    await this.write({ ...(guid !== undefined && { guid }), clusterId, revision, at: this.clock().toISOString() });
  }

  /** It is alive and at this revision, and all changes up to about now were handed on. */
  heard(revision: bigint): void {
    if (this.now === undefined) return;
    const at = this.clock().toISOString();
    this.now = { ...this.now, at, ...(revision > this.now.revision && { revision }) };
  }

  /** Writes what is due. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    if (this.now !== undefined && this.now !== this.written) await this.write(this.now);
  }

  private tick(): void {
    if (this.now === undefined || this.now === this.written) return;
    const quiet = this.now.revision === this.written?.revision;
    if (quiet && ++this.quietTicks < QUIET_TICKS) return;
    this.quietTicks = 0;
    void this.write(this.now);
  }

  private async write(identity: Identity): Promise<void> {
    this.now = identity;
    this.writing = this.writing.then(async () => {
      // Also when it could not be written: memory is then all that there is.
      this.written = identity;
      try {
        await this.file.write(identity);
        this.onProblems([]);
      } catch (error) {
        this.onProblems([
          {
            where: escape(this.file.path),
            code: "STATE_NOT_WRITTEN",
            what: `it cannot be written: ${printable(messageOf(error))}`,
            consequence:
              "all is enforced; but after a restart of the agent another cluster, or a backup that was restored, may not be recognised",
          },
        ]);
      }
    });
    await this.writing;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
