/** What `cleanup` takes away, in the order in which nothing is announced that no longer works; the guard last. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AgentLock } from "../agent/lock.js";
import { guardOptions } from "../agent/wire/guard.js";
import { openLinks } from "../agent/wire/links.js";
import { ANY_VERSION, pinsIn } from "../agent/wire/pins.js";
import type { Config } from "../config/schema.js";
import { detach } from "../dataplane/bpf/attach.js";
import { removePins } from "../dataplane/bpf/cleanup.js";
import { removeRules } from "../dataplane/iptables/remove.js";
import { forgetInventory } from "../dataplane/iptables/inventory.js";
import { removeGuard } from "../dataplane/guard.js";
import { removeServices } from "../dataplane/services/services.js";
import { DataplaneError } from "../errors.js";
import { isOurs } from "../links/ours.js";
import { readLinks } from "../links/read-links.js";
import type { Removed } from "./context.js";

/** Guests' interfaces that are up, by name. */
export async function openTaps(config: Config): Promise<readonly string[]> {
  const rule = { prefixes: config.interfacePrefix, excluded: config.interfaceExclude };
  return (await readLinks()).filter((link) => link.adminUp && isOurs(link, rule)).map(({ name }) => name);
}

/** @throws DataplaneError when routes or programs cannot be removed; what was removed until then is gone */
export async function clean(config: Config): Promise<readonly Removed[]> {
  // An agent that starts meanwhile would have its floor taken away.
  const lock = new AgentLock(config.runDir, config.pinDir);
  try {
    return await cleanAll(config);
  } finally {
    lock.release();
  }
}

async function cleanAll(config: Config): Promise<readonly Removed[]> {
  const { routes, neighbours } = await cleanRoutes(config);
  const links = await readLinks();
  const versions = existsSync(config.pinDir) ? readdirSync(config.pinDir).filter((name) => ANY_VERSION.test(name)) : [];
  // A filter on clsact is found by its program's name, a link by its pin, which is below the version.
  const directories = versions.length > 0 ? versions.map((name) => join(config.pinDir, name)) : [pinsIn(config.pinDir)];
  const off = (directory: string): number =>
    (["ingress", "egress"] as const).reduce(
      (sum, direction) => sum + links.filter(({ ifindex }) => detach(directory, ifindex, direction)).length,
      0,
    );
  const hooks = directories.reduce((sum, directory) => sum + off(directory), 0);
  const pins = directories.reduce((sum, directory) => sum + removePins(directory), 0);
  const guard = await removeGuard(guardOptions(config));
  const services = await removeServices();
  const iptables = await removeRules();
  forgetInventory(config.runDir);
  rmSync(join(config.runDir, "status.json"), { force: true });
  return [
    { what: "routes", count: routes },
    { what: "permanent neighbours", count: neighbours },
    { what: "programs on interfaces", count: hooks },
    { what: `pins in ${config.pinDir}`, count: pins },
    ...iptables,
    ...[...guard, ...services].map((what) => ({ what, count: 1 })),
  ];
}

async function cleanRoutes(config: Config): Promise<{ readonly routes: number; readonly neighbours: number }> {
  const links = openLinks(config);
  try {
    await links.start(() => undefined);
    const report = await links.removeRoutes();
    const [failure] = report.failures;
    if (failure)
      throw new DataplaneError("ROUTES_LEFT", `${failure.where}: ${failure.error.message}`, { cause: failure.error });
    return { routes: report.removed, neighbours: report.neighboursRemoved };
  } finally {
    links.close();
  }
}
