/** Takes away what is Felix's, each kind by itself, and nothing else. Every call may be repeated. */
import { existsSync, rmdirSync, unlinkSync } from "node:fs";
import { BpfError, BpfLink, clsact } from "#libbpf";
import { refused } from "../dataplane/iptables/tools.js";
import type { Runner } from "../dataplane/run.js";
import { DataplaneError } from "../errors.js";
import { NLM, routeBody, RTM } from "../links/codec.js";
import { NetlinkError, RtNetlink } from "../links/rtnetlink.js";
import type { Route } from "../links/types.js";
import { printable } from "../text.js";
import type { Found, ItsProgram } from "./read.js";
import { removalText, tablesInOrder, type ToolFound } from "./rules.js";

/** Seconds to wait for the xtables lock. */
const LOCK_SECONDS = "10";

/** Rules and chains: one transaction a table, so that no packet meets half. @returns chains @throws DataplaneError */
export async function removeRules(run: Runner, tools: readonly ToolFound[]): Promise<number> {
  let chains = 0;
  for (const { tool, found } of tablesInOrder(tools)) {
    const restore = tool.replace(/-save$/, "-restore");
    const result = await run(restore, ["--noflush", "-w", LOCK_SECONDS], removalText(found));
    if (result.status !== 0) throw refused(`remove Felix's chains by ${restore}, table ${found.table}`, result);
    chains += found.chains.length;
  }
  return chains;
}

/** @throws DataplaneError */
export async function removeTables(run: Runner, tables: Found["tables"]): Promise<number> {
  for (const { family, name } of tables) {
    const result = await run("nft", ["delete", "table", family, name]);
    if (result.status !== 0 && !/no such file/i.test(result.stderr))
      throw refused(`remove nft table ${family} ${name}`, result);
  }
  return tables.length;
}

/** @throws DataplaneError SETS_IN_USE naming those that some rule still names */
export async function removeSets(run: Runner, sets: readonly string[]): Promise<number> {
  const inUse: string[] = [];
  for (const set of sets) {
    const result = await run("ipset", ["destroy", set]);
    if (result.status !== 0 && !/does not exist/i.test(result.stderr)) inUse.push(set);
  }
  if (inUse.length > 0)
    throw new DataplaneError(
      "SETS_IN_USE",
      `some rule of somebody else names Felix's sets ${inUse.map(printable).join(", ")}: find it (iptables-save, ip6tables-save, of both back ends; nft list ruleset), take it away and run this again`,
    );
  return sets.length;
}

const GONE = new Set(["ESRCH", "ENOENT", "ENODEV"]);

/** @throws NetlinkError */
export async function removeRoutes(routes: readonly Route[]): Promise<number> {
  const netlink = new RtNetlink();
  try {
    for (const { family, prefix, metric, links, protocol } of routes) {
      const [ifindex = 0] = links;
      try {
        const body = routeBody({ family, prefix, metric, ifindex }, protocol);
        await netlink.request(`remove route ${prefix}`, RTM.DELROUTE, 0, body);
      } catch (error) {
        if (!(error instanceof NetlinkError) || !GONE.has(error.code)) throw error;
      }
    }
    return routes.length;
  } finally {
    netlink.close();
  }
}

/** The same routes with another protocol number, each replaced by one message: there is one at any time. @throws NetlinkError */
export async function relabelRoutes(routes: readonly Route[], protocol: number): Promise<number> {
  const netlink = new RtNetlink();
  try {
    for (const { family, prefix, metric, links } of routes) {
      const [ifindex = 0] = links;
      const body = routeBody({ family, prefix, metric, ifindex }, protocol);
      await netlink.request(`route ${prefix}`, RTM.NEWROUTE, NLM.CREATE | NLM.REPLACE, body);
    }
    return routes.length;
  } finally {
    netlink.close();
  }
}

/** @throws BpfError */
export function removePrograms(programs: readonly ItsProgram[]): number {
  for (const { ifindex, direction, place, linkId } of programs) {
    try {
      if (place !== undefined) clsact.detach({ ifindex, direction, ...place });
      else if (linkId !== undefined && linkId !== 0) {
        const link = BpfLink.fromId(linkId);
        try {
          link.detach();
        } finally {
          link.close();
        }
      }
    } catch (error) {
      if (!(error instanceof BpfError) || !GONE.has(error.code)) throw error;
    }
  }
  return programs.length;
}

/** @param paths a directory after what is in it */
export function removePins(paths: readonly string[]): number {
  for (const path of paths) {
    if (!existsSync(path)) continue;
    try {
      unlinkSync(path);
    } catch (error) {
      if (!["EISDIR", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      rmdirSync(path);
    }
  }
  return paths.length;
}

interface Filter {
  readonly pref?: number;
  readonly options?: { readonly actions?: readonly { readonly kind?: string; readonly to_dev?: string }[] };
}

/** The devices by which it limits what guests send, and before them what sends it there. @throws DataplaneError */
export async function removeLimiters(run: Runner, names: readonly string[], taps: readonly string[]): Promise<number> {
  if (names.length === 0) return 0;
  const limiters = new Set(names);
  for (const tap of taps) {
    const { status, stdout } = await run("tc", ["-j", "filter", "show", "dev", tap, "ingress"]);
    if (status !== 0 || stdout.trim() === "") continue;
    const leads = ({ options }: Filter): boolean =>
      (options?.actions ?? []).some(({ kind, to_dev = "" }) => kind === "mirred" && limiters.has(to_dev));
    for (const { pref } of (JSON.parse(stdout) as Filter[]).filter(leads))
      if (pref !== undefined) await run("tc", ["filter", "del", "dev", tap, "ingress", "pref", String(pref)]);
  }
  for (const name of names) {
    const result = await run("ip", ["link", "del", name]);
    if (result.status !== 0 && !/cannot find/i.test(result.stderr)) throw refused(`remove device ${name}`, result);
  }
  return names.length;
}
