/**
 * What stands for vitest in the VM, where transforming takes minutes: its words as far as the bundled tests use them, and its own
 * `expect`. One file a process. Prints a line a test as it ends ("ok", "FAILED", "skip"), which judge.ts counts on the other side.
 * Timeouts are multiplied by VM_PATIENCE.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  customMatchers,
  GLOBAL_EXPECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";

type Body = () => unknown;

interface Hooks {
  readonly before: Body[];
  readonly after: Body[];
  readonly beforeEach: Body[];
  readonly afterEach: Body[];
}
interface Group extends Hooks {
  readonly name: string;
  readonly steps: (() => Promise<void>)[];
}

const PATIENCE = Number(process.env["VM_PATIENCE"] ?? "1");
const TIMEOUT = 60_000;
/** 3: every third test runs, the others are told as skipped; "3:1": those that come after the ones of "3". */
const [EVERY = 1, FIRST = 0] = (process.env["VM_EVERY"] ?? "1").split(":").map(Number);
/** Only tests whose name has this in it. */
const ONLY = process.env["VM_ONLY"] ?? "";
const newGroup = (name: string): Group => ({ name, steps: [], before: [], after: [], beforeEach: [], afterEach: [] });
const stack: Group[] = [newGroup("")];
const here = (): Group => stack.at(-1) as Group;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
let failed = 0;
let count = 0;

// What did not come out is told whole: nobody can look again without another boot.
chai.config.truncateThreshold = 0;
chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

const made = (value: unknown, message?: string): Chai.Assertion => chai.expect(value, message);
export const expect = Object.assign(
  made,
  chai.expect,
  (globalThis as unknown as Record<symbol, object>)[ASYMMETRIC_MATCHERS_OBJECT],
);
/** expect.poll(…).toBe(…): until it holds. Without "not" and the like. */
const poll = (body: Body, options: { readonly timeout?: number } = {}): unknown =>
  new Proxy(
    {},
    {
      get:
        (_, matcher: string) =>
        (...args: unknown[]) =>
          vi.waitFor(async () => {
            const assertion = expect(await body());
            const met: unknown = Reflect.get(assertion, matcher);
            if (typeof met !== "function") throw new Error(`expect.poll knows no ${matcher}`);
            Reflect.apply(met, assertion, args);
          }, options),
    },
  );
Object.assign(expect, { poll });
setState({ assertionCalls: 0 }, expect as never);
Object.defineProperty(globalThis, GLOBAL_EXPECT, { value: expect, writable: true, configurable: true });
(chai.expect as unknown as { extend: (to: unknown, matchers: unknown) => void }).extend(expect, customMatchers);

async function within(body: Body, timeout: number): Promise<void> {
  const late = new AbortController();
  await Promise.race([
    Promise.resolve(body()),
    sleep(timeout * PATIENCE, undefined, { signal: late.signal }).then(() => {
      throw new Error(`took more than ${timeout * PATIENCE} ms`);
    }),
  ]).finally(() => late.abort());
}

const because = (error: unknown): string =>
  (error instanceof Error ? (error.stack ?? error.message) : String(error)).replaceAll("\n", "\n    ");

async function ran(name: string, body: () => Promise<void>): Promise<void> {
  const begun = performance.now();
  try {
    await body();
    say(`ok ${name} (${Math.round(performance.now() - begun)} ms)`);
  } catch (error) {
    failed++;
    say(`FAILED ${name}\n    ${because(error)}`);
  }
}

/** @param fails the test is right when its body fails */
function add(name: string, body: Body, timeout = TIMEOUT, fails = false): void {
  const groups = [...stack];
  const left = count++ % EVERY !== FIRST;
  const full = [...groups.map((one) => one.name), name].filter((part) => part !== "").join(" > ");
  if (!full.includes(ONLY)) return;
  here().steps.push(async () => {
    if (left) return say(`skip ${full}`);
    await ran(full, async () => {
      for (const { beforeEach } of groups) for (const hook of beforeEach) await within(hook, TIMEOUT);
      try {
        if (!fails) await within(body, timeout);
        else {
          const error = await within(body, timeout).catch((thrown: unknown) => thrown ?? "thrown");
          if (error === undefined) throw new Error("this was expected to fail, and has not");
        }
      } finally {
        for (const { afterEach } of groups) for (const hook of afterEach) await within(hook, TIMEOUT);
      }
    });
  });
}

async function play(group: Group): Promise<void> {
  const prepared = await Promise.resolve()
    .then(async () => {
      for (const hook of group.before) await within(hook, 2 * TIMEOUT);
      return true;
    })
    .catch((error: unknown) => {
      failed++;
      say(`FAILED ${group.name} > what comes before it\n    ${because(error)}`);
      return false;
    });
  if (prepared) for (const step of group.steps) await step();
  for (const hook of group.after)
    await within(hook, TIMEOUT).catch((error: unknown) => {
      failed++;
      say(`FAILED ${group.name} > what comes after it\n    ${because(error)}`);
    });
}

function group(name: string, body: () => void): void {
  const group = newGroup(name);
  here().steps.push(() => play(group));
  stack.push(group);
  body();
  stack.pop();
}
export const describe = Object.assign(group, {
  /** Of single values: what stands for one in the name is the first "%" and its letter. */
  each:
    <T>(values: readonly T[]) =>
    (name: string, body: (value: T) => void): void => {
      for (const value of values) group(name.replace(/%[a-z]/, String(value)), () => body(value));
    },
});

export const it = Object.assign((name: string, body: Body, timeout?: number) => add(name, body, timeout), {
  fails: (name: string, body: Body, timeout?: number) => add(name, body, timeout, true),
  skip: (name: string) => void here().steps.push(() => Promise.resolve(say(`skip ${name}`))),
  skipIf: (skipped: boolean) => (skipped ? it.skip : it),
});
export const test = it;
export const beforeAll = (body: Body): number => here().before.push(body);
export const afterAll = (body: Body): number => here().after.push(body);
export const beforeEach = (body: Body): number => here().beforeEach.push(body);
export const afterEach = (body: Body): number => here().afterEach.push(body);

export const vi = {
  async waitFor<T>(body: () => T | Promise<T>, { timeout = 1_000, interval = 50 } = {}): Promise<T> {
    for (const end = Date.now() + timeout * PATIENCE; ; await sleep(interval)) {
      try {
        return await body();
      } catch (error) {
        if (Date.now() >= end) throw error;
      }
    }
  },
};

// Once the importing file has said all of its tests.
setImmediate(() => {
  void play(stack[0] as Group).then(() => process.exit(failed > 0 ? 1 : 0));
});
