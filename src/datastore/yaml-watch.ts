/**
 * Says that something in a directory changed and has been quiet since. fs.watch (inotify) for speed, a look every two
 * seconds for what it misses: network file systems, a directory that was replaced, a link's target.
 */
import { watch, type FSWatcher } from "node:fs";

const POLL_MS = 2000;

export interface WatchOptions {
  readonly directory: string;
  readonly quietMs: number;
  /** Which names in it matter. */
  readonly matters: (name: string) => boolean;
  /** A text that differs when the content may; called at every poll. */
  readonly fingerprint: () => Promise<string>;
  /** One call at a time; changes during it lead to another one. */
  readonly onQuiet: () => Promise<void>;
}

export class QuietWatcher {
  private watcher: FSWatcher | undefined;
  private quiet: NodeJS.Timeout | undefined;
  private poll: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  private seen = "";

  constructor(private readonly options: WatchOptions) {}

  /** Begins, and treats the present content as a change. */
  start(): void {
    this.watch();
    this.touch();
    this.poll = setInterval(() => void this.look(), POLL_MS);
  }

  /** Counts as a change. */
  touch(): void {
    if (this.stopped) return;
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.fire(), this.options.quietMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.quiet);
    clearInterval(this.poll);
    this.watcher?.close();
    await this.running;
  }

  private fire(): void {
    if (this.running !== undefined) {
      this.again = true;
      return;
    }
    this.running = this.options.onQuiet().finally(() => {
      this.running = undefined;
      if (this.again) this.touch();
      this.again = false;
    });
  }

  private async look(): Promise<void> {
    const now = await this.options.fingerprint();
    if (now !== this.seen) {
      this.seen = now;
      // The directory itself may be another one than the one that is watched.
      this.watch();
      this.touch();
    }
  }

  private watch(): void {
    if (this.stopped) return;
    this.watcher?.close();
    this.watcher = undefined;
    try {
      const watcher = watch(this.options.directory, (_, name) => {
        if (name === null || this.options.matters(name)) this.touch();
      });
      // Gone: the poll sees it come back.
      watcher.on("error", () => watcher.close());
      this.watcher = watcher;
    } catch {
      // No such directory, or no inotify watches left: the poll is enough.
    }
  }
}
