/**
 * A datastore that is a directory of YAML files: one snapshot each time it has been quiet for a moment. Whatever cannot be read
 * keeps what it held before (D5). `in-sync` is said once every file has been read in full: what an unreadable file holds is not
 * known after a start, it may be a Deny, and until then the kernel keeps what is pinned in it.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.js";
import type { Problem } from "../problems.js";
import { escape, quote } from "../text.js";
import type { Datastore, DatastoreEvent } from "./types.js";
import { isYamlName, listFiles, readText, type FileStat } from "./yaml-files.js";
import { diffResources, mergeFiles, type Resources } from "./yaml-merge.js";
import { fileProblem, parseYamlFile, type FileContent, type FileResource } from "./yaml-parse.js";
import { QuietWatcher } from "./yaml-watch.js";

export interface YamlDirectoryOptions {
  readonly path: string;
  /** The node of endpoints that name none. */
  readonly hostname: string;
  /** How long nothing may have changed before the directory is read. */
  readonly quietMs?: number;
}

interface KnownFile {
  readonly signature: string;
  /** In force: of the last version that could be read in full. */
  readonly resources: readonly FileResource[];
  readonly problems: readonly Problem[];
  /** Whether some version of it was read in full. */
  readonly everComplete: boolean;
  /** Set when it could not be read for a reason that may pass without the file changing. */
  readonly retry?: boolean;
}

export class YamlDirectory implements Datastore {
  readonly description: string;
  private readonly watcher: QuietWatcher;
  private onEvent: (event: DatastoreEvent) => void = () => undefined;
  private files = new Map<string, KnownFile>();
  private sent: Resources = new Map();
  private sentProblems = "[]";
  private inSync = false;
  private attempts = 0;

  constructor(private readonly options: YamlDirectoryOptions) {
    this.description = `directory ${options.path}`;
    this.watcher = new QuietWatcher({
      directory: options.path,
      quietMs: options.quietMs ?? 100,
      matters: isYamlName,
      fingerprint: () => this.fingerprint(),
      onQuiet: () => this.read(),
    });
  }

  async start(onEvent: (event: DatastoreEvent) => void): Promise<void> {
    const info = await stat(this.options.path).catch(() => undefined);
    if (info !== undefined && !info.isDirectory()) {
      throw new ConfigError(
        "NOT_A_DIRECTORY",
        `${quote(this.options.path)} is no directory; policy-dir must name one that holds YAML files`,
      );
    }
    this.onEvent = onEvent;
    this.watcher.start();
  }

  stop(): Promise<void> {
    return this.watcher.stop();
  }

  private async read(): Promise<void> {
    const listed = await listFiles(this.options.path).catch((error: unknown) => messageOf(error));
    if (typeof listed === "string")
      return this.nothing("NO_DIRECTORY", `the directory cannot be read: ${escape(listed)}`);
    if (listed.length === 0) return this.nothing("EMPTY_DIRECTORY", "the directory holds no *.yaml file");
    const files = new Map<string, KnownFile>();
    for (const file of listed) files.set(file.name, await this.readFile(file));
    // Written to while it was read: what was read may be half of it.
    const still = await listFiles(this.options.path).then(fingerprintOf, messageOf);
    if (still !== fingerprintOf(listed)) return this.watcher.touch();
    this.files = files;
    this.publish();
  }

  private async readFile({ name, signature }: FileStat): Promise<KnownFile> {
    const former = this.files.get(name);
    if (former?.signature === signature) return former;
    const path = join(this.options.path, name);
    const read = await readText(path);
    const content: FileContent =
      "text" in read
        ? parseYamlFile(read.text, path, this.options.hostname)
        : { resources: [], problems: [fileProblem(path, read.code, escape(read.what))], complete: false };
    if ("text" in read && read.text.trim() === "" && (former?.resources.length ?? 0) > 0)
      return { ...emptied(path, former), signature };
    if (content.complete) return { signature, resources: content.resources, problems: [], everComplete: true };
    const everComplete = former?.everComplete ?? false;
    const resources = everComplete ? (former?.resources ?? []) : content.resources;
    const retry = "code" in read && read.code !== "TOO_LARGE";
    return { signature: retry ? "" : signature, resources, problems: content.problems, everComplete, retry };
  }

  private publish(): void {
    const { resources, problems } = mergeFiles(
      [...this.files.values()].map((file) => file.resources),
      this.options.path,
    );
    const ofFiles = [...this.files.values()].flatMap((file) => file.problems);
    const unread = this.inSync ? [] : [...this.files].filter(([, file]) => !file.everComplete).map(([name]) => name);
    this.sendProblems([...ofFiles, ...problems, ...(unread.length > 0 ? [this.waiting(unread)] : [])]);
    // Until in-sync each state is a snapshot of its own, for a snapshot takes nothing back.
    if (!this.inSync) this.onEvent({ type: "snapshot-begin" });
    const changes = diffResources(this.inSync ? this.sent : new Map<string, FileResource>(), resources);
    this.sent = resources;
    if (changes.length > 0) this.onEvent({ type: "changes", changes });
    if (this.inSync || unread.length > 0) return;
    this.inSync = true;
    this.onEvent({ type: "in-sync" });
  }

  /** The directory is gone or empty: a mount that is missing, a half-done copy. Nothing changes. */
  private nothing(code: string, what: string): void {
    const consequence = this.inSync
      ? "what it held stays in force"
      : "nothing changes in the kernel until it holds some";
    this.sendProblems([{ where: escape(this.options.path), code, what, consequence }]);
  }

  private waiting(names: readonly string[]): Problem {
    const what = `${names
      .map((name) => quote(name))
      .slice(0, 10)
      .join(", ")} could not be read since the start, and may hold what denies`;
    return {
      where: escape(this.options.path),
      code: "NOT_IN_SYNC",
      what,
      consequence: "nothing changes in the kernel until every file has been read once",
    };
  }

  private async fingerprint(): Promise<string> {
    const retries = [...this.files.values()].some((file) => file.retry) ? ++this.attempts : this.attempts;
    const listed = await listFiles(this.options.path).then(fingerprintOf, messageOf);
    return `${retries} ${listed}`;
  }

  private sendProblems(problems: readonly Problem[]): void {
    const text = JSON.stringify(problems);
    if (text === this.sentProblems) return;
    this.sentProblems = text;
    this.onEvent({ type: "problems", problems });
  }
}

function emptied(path: string, former: KnownFile | undefined): Omit<KnownFile, "signature"> {
  const problem = fileProblem(
    path,
    "EMPTY_FILE",
    "it has no content any more; remove it, or leave a comment in it, to take its resources away",
  );
  return { resources: former?.resources ?? [], problems: [problem], everComplete: true };
}

function fingerprintOf(files: readonly FileStat[]): string {
  return JSON.stringify(files);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
