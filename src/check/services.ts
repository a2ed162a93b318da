/** Whether the metadata service's NAT stands as the configuration wants it. */
import { SERVICES_TABLE, type ServicesWish } from "../dataplane/services/rules.js";
import { servicesLacking } from "../dataplane/services/services.js";
import type { Difference } from "./difference.js";

export async function compareServices(wish: ServicesWish): Promise<Difference[]> {
  return (await servicesLacking(wish)).map((family) => {
    const to = wish.metadata.addresses[family];
    return {
      kind: "services",
      where: `nft table ${family === 4 ? "ip" : "ip6"} ${SERVICES_TABLE}`,
      key: "",
      is: to === undefined ? "there" : "missing or altered",
      wanted: to === undefined ? null : `metadata to ${to} port ${wish.metadata.port}`,
    };
  });
}
