/** Network namespaces of the tests, and what runs in them. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { promisify } from "node:util";

const exec = promisify(execFile);
let counter = 0;

export interface Namespace {
  readonly name: string;
  /** Runs a program inside; its standard output. Rejects on failure, with standard error in the message. */
  run(program: string, ...args: string[]): Promise<string>;
  /** The same with text on standard input. */
  feed(input: string, program: string, ...args: string[]): Promise<string>;
  start(program: string, ...args: string[]): ChildProcess;
  remove(): Promise<void>;
}

/** A new namespace, lo up, with a name of this process. Its holder removes it. */
export async function namespace(): Promise<Namespace> {
  const name = `tb-${process.pid}-${++counter}`;
  await exec("ip", ["netns", "add", name]);
  const children = new Set<ChildProcess>();
  const inside = (program: string, args: readonly string[]): string[] => ["netns", "exec", name, program, ...args];
  const ns: Namespace = {
    name,
    run: async (program, ...args) =>
      (await exec("ip", inside(program, args), { timeout: 30_000, maxBuffer: 16 << 20 })).stdout,
    feed: (input, program, ...args) =>
      new Promise((resolve, reject) => {
        const child = execFile("ip", inside(program, args), { timeout: 30_000 }, (error, stdout, stderr) =>
          error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stderr}`)),
        );
        child.stdin?.end(input);
      }),
    start: (program, ...args) => {
      const child = spawn("ip", inside(program, args), { stdio: ["pipe", "pipe", "inherit"] });
      children.add(child);
      child.once("exit", () => children.delete(child));
      return child;
    },
    remove: async () => {
      await Promise.all(
        [...children].map(
          (child) =>
            new Promise<void>((resolve) => {
              child.once("exit", () => resolve());
              child.kill("SIGKILL");
            }),
        ),
      );
      await exec("ip", ["netns", "del", name]);
    },
  };
  await ns.run("ip", "link", "set", "lo", "up");
  return ns;
}
