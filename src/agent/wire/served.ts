/** Settings → what the host answers its guests (S7). Pure. */
import type { Config } from "../../config/schema.js";
import { parseAddress } from "../../model/cidr.js";
import { served, type MetadataService, type Served } from "../../model/services.js";

/** Without host-to-guest nothing could answer: then nothing may be asked either, so that guests are refused and not left waiting. */
export function metadataOf(config: Config): MetadataService {
  const address = (text: string): ReturnType<typeof parseAddress> =>
    text === "none" || !config.hostToGuest ? undefined : parseAddress(text);
  const [v4, v6] = [address(config.metadataAddress), address(config.metadataAddressIpv6)];
  return {
    port: config.metadataPort,
    addresses: { ...(v4 === undefined ? {} : { 4: v4 }), ...(v6 === undefined ? {} : { 6: v6 }) },
  };
}

export const servedOf = (config: Config): Served => served(metadataOf(config), config.guestDns && config.hostToGuest);
