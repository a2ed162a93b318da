/** Child of conntrack.test.ts: the conntrack of this namespace, by one JSON command a line, each answered with one line. */
import { createInterface } from "node:readline";
import { Conntrack } from "../../src/dataplane/conntrack/conntrack.js";
import type { ConntrackEntry } from "../../src/dataplane/conntrack/entry.js";

const conntrack = new Conntrack();
const say = (value: unknown): void => console.log(JSON.stringify(value));

interface Command {
  readonly do: string;
  readonly entries?: readonly ConntrackEntry[];
  readonly count?: number;
}

/** UDP, each of another pair of ports. */
function* many(like: ConntrackEntry, count: number): Generator<ConntrackEntry> {
  for (let i = 0; i < count; i++) {
    const [sourcePort, destinationPort] = [1024 + (i % 50_000), 1 + Math.floor(i / 50_000)];
    const { original, reply } = like;
    yield {
      ...like,
      original: { ...original, sourcePort, destinationPort },
      reply: { ...reply, sourcePort: destinationPort, destinationPort: sourcePort },
    };
  }
}

/** The longest time that the event loop got no turn while `run` ran. */
async function stall(run: () => Promise<unknown>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await run();
  clearInterval(timer);
  return Math.max(longest, performance.now() - last);
}

say("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, entries = [], count = 0 } = JSON.parse(line) as Command;
  const [first] = entries;
  if (what === "list") say(await conntrack.list());
  else if (what === "create") {
    const { done, failed } = await conntrack.createAll(entries);
    say({ done, failed: failed.map(({ error }) => error.message) });
  } else if (what === "delete") {
    const { done, failed } = await conntrack.deleteAll(entries);
    say({ done, failed: failed.map(({ error }) => error.message) });
  } else if (what === "fill" && first !== undefined) {
    const { done, failed } = await conntrack.createAll(many(first, count));
    say({ done, failed: failed.length });
  } else if (what === "scan") {
    let seen = 0;
    const longest = await stall(() => conntrack.each(() => void seen++));
    say({ seen, longest, rss: process.memoryUsage().rss });
  }
}
conntrack.close();
