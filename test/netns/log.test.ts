/** An agent whose log can't be written: it enforces, and follows what changes. */
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AgentProcess } from "../../src/demo/world/agent.js";
import { Namespace } from "../../src/demo/world/namespace.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
let host: Namespace;
let agent: AgentProcess;
let policyDir: string;

beforeAll(async () => {
  policyDir = mkdtempSync(join(tmpdir(), "tb-log-"));
  cpSync(join(ROOT, "examples"), policyDir, { recursive: true });
  host = await Namespace.create("log");
  await host.ip("tuntap add dev tapweb1 mode tap", "link set tapweb1 up");
  // /dev/full, full(4): every write fails with ENOSPC.
  const prefix = ["sh", "-c", 'exec "$@" >/dev/full 2>/dev/full', "sh"];
  agent = await AgentProcess.create(host, { policyDir, prefix });
});
afterAll(async () => {
  await agent?.remove();
  await host?.remove();
  rmSync(policyDir, { recursive: true, force: true });
});

const enforced = (): string[] =>
  (agent.status()?.endpoints ?? []).filter((one) => one.enforced).map((one) => one.interface);
const groups = (): string[] => (agent.status()?.policies ?? []).map(({ name }) => name ?? "");

it("a full disk where logs go: taps are enforced, edits are followed, SIGTERM is answered", async () => {
  agent.start();
  await expect.poll(enforced, { timeout: 20_000 }).toEqual(["tapweb1"]);
  expect(groups()).not.toContain("renamed");
  const file = join(policyDir, "groups.yaml");
  writeFileSync(`${file}.new`, readFileSync(file, "utf8").replace(/name: "?db"?$/m, "name: renamed"));
  renameSync(`${file}.new`, file);
  await expect.poll(groups, { timeout: 20_000 }).toContain("renamed");
  await agent.stop();
  expect(agent.status()?.stopped).toBeDefined();
}, 60_000);
