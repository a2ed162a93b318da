/** What a newcomer sees: `make run` and `make run ONCE=1`, as programs of their own. */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command, ended } from "../../src/demo/world/command.js";

const ROOT = join(import.meta.dirname, "../..");
const DEMO = [process.execPath, join(ROOT, "dist/demo/main.js")];
const table = (text: string): string[] =>
  text
    .slice(text.indexOf("from \\ to"))
    .split("\n")
    .slice(0, 5)
    .map((line) => line.trimEnd().replace(/ {2,}/g, " | "));

let policyDir: string;

beforeAll(() => {
  policyDir = mkdtempSync(join(tmpdir(), "tb-demo-"));
  cpSync(join(ROOT, "examples"), policyDir, { recursive: true });
});

afterAll(() => rmSync(policyDir, { recursive: true, force: true }));

/** Namespaces of a process, and directories below /run. */
const leftovers = (pid: number): string[] =>
  ["/run/netns", "/run"].flatMap((directory) => readdirSync(directory).filter((name) => name.startsWith(`tb-${pid}-`)));

describe("the demo", () => {
  it.each(["bpf", "iptables"])(
    "once: prints who reaches whom over the default directory, and ends (%s)",
    async (plane) => {
      const text = await command([...DEMO, "--once", "--dataplane", plane], { timeout: 30_000 });
      expect(text).toMatch(
        /^Torbie demo: 4 guests, 2 groups, 2 subnets {3}policy: \S*examples\/ {3}dataplane: \w+ \(kernel \d+\.\d+\)\n/,
      );
      expect(text).toContain(`dataplane: ${plane} `);
      expect(text).toContain("web1 10.65.0.11 web   web2 172.18.3.12 web   db1 10.65.0.21 db   db2 172.18.3.22 db\n");
      expect(text).toContain("web: tcp/80 and ping from anyone");
      expect(text).toContain("db: tcp/5432 from group web, nothing else");
      expect(text).toContain("Tried just now with real packets (v4 and v6 alike):");
      expect(table(text)).toEqual([
        "from \\ to | web1 | web2 | db1 | db2",
        "web1 | - | 80 ping | 5432 | 5432",
        "web2 | 80 ping | - | 5432 | 5432",
        "db1 | 80 ping | 80 ping | - | none",
        "db2 | 80 ping | 80 ping | none | -",
      ]);
      expect(text).toContain('db1 -> db2 tcp/5432: dropped at db2, no rule of "db" admits it\n');
      expect(text).toContain("web1 -> db1, same subnet: one hop, TTL 64 -> 63: routed, not switched\n");
      expect(text).not.toContain("Ctrl-C");
    },
  );

  it("stays: an edit changes what passes and is told in one line; Ctrl-C leaves nothing behind", async () => {
    const [file = "", ...rest] = DEMO;
    const child = spawn(file, [...rest, "--policy-dir", policyDir], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    try {
      await expect.poll(() => text, { timeout: 30_000 }).toContain("Stop: Ctrl-C");
      const [, lineText, wrong, right] =
        /Try: {2}\S+groups\.yaml, line (\d+): ("\w+") -> ("\w+"), save\n/.exec(text) ?? [];
      const groups = join(policyDir, "groups.yaml");
      const before = readFileSync(groups, "utf8");
      const lines = before.split("\n");
      const line = Number(lineText) - 1;
      lines[line] = (lines[line] ?? "").replace(wrong ?? "?", right ?? "?");

      let seen = text.length;
      writeFileSync(groups, lines.join("\n"));
      await expect.poll(() => text.slice(seen), { timeout: 10_000 }).toContain("\n");
      expect(text.slice(seen)).toMatch(
        /groups\.yaml:\d+: policy db; [1-9]\d* map writes? in \d+\.\d ms; now .*web1 -> db1: 5432 -> none.*db1 -> db2: none -> 5432/,
      );

      seen = text.length;
      writeFileSync(groups, `${before}\n  : [ not yaml`);
      await expect.poll(() => text.slice(seen), { timeout: 10_000 }).toMatch(/PROBLEM .*groups\.yaml:\d+/);

      seen = text.length;
      writeFileSync(groups, before);
      await expect.poll(() => text.slice(seen), { timeout: 10_000 }).toMatch(/now .*web1 -> db1: none -> 5432/);
    } finally {
      child.kill("SIGINT");
      await ended(child);
    }
    expect(child.exitCode).toBe(0);
    expect(leftovers(child.pid ?? 0)).toEqual([]);
  });

  it("says what is wrong with its directory, and leaves nothing behind", async () => {
    await expect(command([...DEMO, "--policy-dir", join(policyDir, "nowhere")])).rejects.toThrow(/no such directory/);
    const empty = mkdtempSync(join(tmpdir(), "tb-demo-"));
    await expect(command([...DEMO, "--once", "--policy-dir", empty])).rejects.toThrow(/holds no \*\.yaml file/);
    rmSync(empty, { recursive: true });
  });

  it("asks for root", async () => {
    await expect(command(["setpriv", "--reuid", "65534", "--clear-groups", ...DEMO, "--once"])).rejects.toThrow(
      /run it as root/,
    );
  });
});
