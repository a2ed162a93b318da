/** Whether the NAT of metadata service and floating IPs stands as the configuration and the datastore want it. */
import { family as familyOf } from "../model/cidr.js";
import { SERVICES_TABLE, serviceChains, type ServicesWish } from "../dataplane/services/rules.js";
import { servicesLacking } from "../dataplane/services/services.js";
import type { Difference } from "./difference.js";

export async function compareServices(wish: ServicesWish): Promise<Difference[]> {
  return (await servicesLacking(wish)).map((family) => {
    const to = wish.metadata.addresses[family];
    const floats = [...wish.floating]
      .filter(([external]) => familyOf(external) === family)
      .map(([external, internal]) => `${external} to ${internal}`);
    const parts = [...(to === undefined ? [] : [`metadata to ${to} port ${wish.metadata.port}`]), ...floats];
    const none = serviceChains(wish, family).length === 0;
    return {
      kind: "services",
      where: `nft table ${family === 4 ? "ip" : "ip6"} ${SERVICES_TABLE}`,
      key: "",
      is: none ? "there" : "missing or altered",
      wanted: none ? null : parts.join(", "),
    };
  });
}
