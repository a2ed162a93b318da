/** The interfaces of this network namespace, asked over rtnetlink: /sys/class/net shows those of whoever mounted it. */
import { linkDump, parseLink, RTM } from "./codec.js";
import { RtNetlink } from "./rtnetlink.js";
import type { Link } from "./types.js";

export async function readLinks(): Promise<readonly Link[]> {
  const netlink = new RtNetlink();
  try {
    return await netlink.dump("reading links", RTM.GETLINK, linkDump(), parseLink);
  } finally {
    netlink.close();
  }
}
