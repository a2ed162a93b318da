/** Routes, neighbours and settings of taps as Felix has them (reference/felix.md §2.2, §3), so that it finds nothing to do. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/schema.js";
import { familyDump, neighbourBody, NLM, NUD_PERMANENT, parseNeighbour, RTM } from "../links/codec.js";
import { readAllRoutes } from "../links/read-links.js";
import { NetlinkError, RtNetlink } from "../links/rtnetlink.js";
import { interfaceDirectory } from "../links/sysctl-plan.js";
import type { Link, Neighbour } from "../links/types.js";
import { HANDED_PROTOCOL, isItsRoute } from "./names.js";
import { relabelRoutes, removeRoutes } from "./remove.js";

/** Below /proc/sys/net, with TAP for the tap's name. The kernel answers ARP and ND from now on, and metadata may be on 127.0.0.1. */
const SETTINGS: readonly (readonly [path: string, value: string])[] = [
  ["ipv4/conf/TAP/forwarding", "1"],
  ["ipv4/conf/TAP/route_localnet", "1"],
  ["ipv4/conf/TAP/proxy_arp", "1"],
  ["ipv4/neigh/TAP/proxy_delay", "0"],
  ["ipv6/conf/TAP/proxy_ndp", "1"],
  ["ipv6/conf/TAP/forwarding", "1"],
  ["ipv6/conf/TAP/accept_ra", "0"],
];

/** @throws NetlinkError */
export async function giveLinks(
  { routeProtocol }: Pick<Config, "routeProtocol">,
  taps: readonly Link[],
): Promise<{ readonly routes: number; readonly neighbours: number }> {
  for (const { name } of taps) settle(name);
  const ifindexes = new Set(taps.map(({ ifindex }) => ifindex));
  const all = await readAllRoutes();
  const theirs = new Set(
    all.filter((route) => isItsRoute(route, ifindexes)).map(({ prefix, links }) => `${prefix} ${links.join()}`),
  );
  const ours = all.filter(({ protocol }) => protocol === routeProtocol);
  const has = ({ prefix, links }: (typeof ours)[number]): boolean => theirs.has(`${prefix} ${links.join()}`);
  // Felix routes single addresses alone; what is wider was never its.
  const single = ours.filter(({ family, prefix }) => prefix.endsWith(family === 4 ? "/32" : "/128"));
  const relabelled = await relabelRoutes(
    single.filter((route) => !has(route)),
    HANDED_PROTOCOL,
  );
  await removeRoutes(ours.filter((route) => has(route) || !single.includes(route)));
  return { routes: relabelled, neighbours: await giveNeighbours(routeProtocol, ifindexes) };
}

/** IPv4's stay, as nobody's, which is how Felix's are; of IPv6 it has none. */
async function giveNeighbours(protocol: number, ifindexes: ReadonlySet<number>): Promise<number> {
  const netlink = new RtNetlink();
  try {
    let count = 0;
    for (const family of [4, 6] as const) {
      const found = await netlink.dump("neighbours", RTM.GETNEIGH, familyDump(family), parseNeighbour);
      for (const entry of found.filter((one) => isOurs(one, protocol, ifindexes))) {
        await forget(netlink, entry, protocol);
        // A packet that comes in between waits for an answer, which this is.
        if (family === 4)
          await netlink.request("neighbour", RTM.NEWNEIGH, NLM.CREATE | NLM.REPLACE, neighbourBody(entry, 0));
        count++;
      }
    }
    return count;
  } finally {
    netlink.close();
  }
}

const isOurs = (entry: Neighbour, protocol: number, ifindexes: ReadonlySet<number>): boolean =>
  entry.protocol === protocol && (entry.state & NUD_PERMANENT) !== 0 && ifindexes.has(entry.ifindex);

async function forget(netlink: RtNetlink, entry: Neighbour, protocol: number): Promise<void> {
  try {
    await netlink.request("neighbour", RTM.DELNEIGH, 0, neighbourBody(entry, protocol));
  } catch (error) {
    if (!(error instanceof NetlinkError) || (error.code !== "ENOENT" && error.code !== "ENODEV")) throw error;
  }
}

function settle(tap: string): void {
  for (const [path, value] of SETTINGS) {
    try {
      writeFileSync(join("/proc/sys/net", path.replace("TAP", interfaceDirectory(tap))), value);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // the tap has gone, or there is no IPv6
    }
  }
}
