/** The interfaces of this network namespace, asked over rtnetlink: /sys/class/net shows those of whoever mounted it. */
import { linkDump, parseLink, RTM } from "../links/codec.js";
import { RtNetlink } from "../links/rtnetlink.js";
import type { Link } from "../links/types.js";

export async function readLinks(): Promise<readonly Link[]> {
  const netlink = new RtNetlink();
  try {
    return await netlink.dump("reading links", RTM.GETLINK, linkDump(), parseLink);
  } finally {
    netlink.close();
  }
}
