/** Guests of the tests' clouds, with the addresses that OpenStack's DHCP would have given them. */
import type { GuestSpec } from "../../src/demo/world/guest.js";

/**
 * @param name of the guest; its tap is "tap" + name
 * @param number last part of its addresses, and of its MAC
 * @param subnet 65: 10.65.0.0/24 and 2001:db8:65::/64; 18: 172.18.3.0/24 and 2001:db8:18::/64
 */
export function guestSpec(
  name: string,
  number: number,
  subnet: 65 | 18 = 65,
  more: Partial<GuestSpec> = {},
): GuestSpec {
  const v4 = subnet === 65 ? "10.65.0" : "172.18.3";
  const v6 = `2001:db8:${subnet}:`;
  const last = number.toString(16).padStart(2, "0");
  return {
    name,
    tap: `tap${name}`,
    mac: `fa:16:3e:00:${subnet}:${last}`,
    addresses: [`${v4}.${number}/24`, `${v6}:${number}/64`],
    gateways: [`${v4}.1`, `${v6}:1`],
    ports: ["tcp/80", "tcp/5432", "udp/53"],
    ...more,
  };
}
