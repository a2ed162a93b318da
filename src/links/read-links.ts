/** The interfaces of this network namespace, asked over rtnetlink: /sys/class/net shows those of whoever mounted it. */
import { familyDump, linkDump, parseLink, parseRoute, RTM, TABLE_MAIN } from "./codec.js";
import { RtNetlink } from "./rtnetlink.js";
import type { Link, Route } from "./types.js";

export async function readLinks(): Promise<readonly Link[]> {
  const netlink = new RtNetlink();
  try {
    return await netlink.dump("reading links", RTM.GETLINK, linkDump(), parseLink);
  } finally {
    netlink.close();
  }
}

/** Those of one rtm_protocol in the main table. */
export async function readRoutes(protocol: number): Promise<readonly Route[]> {
  return (await readAllRoutes()).filter((route) => route.protocol === protocol);
}

/** Whoever's, in the main table. */
export async function readAllRoutes(): Promise<readonly Route[]> {
  const netlink = new RtNetlink();
  try {
    const all: Route[] = [];
    for (const family of [4, 6] as const)
      all.push(...(await netlink.dump("reading routes", RTM.GETROUTE, familyDump(family), parseRoute)));
    return all.filter((route) => route.table === TABLE_MAIN);
  } finally {
    netlink.close();
  }
}
