/** The host forwards for its guests with nothing but the kernel: no agent, no policy. To test the harness itself. */
import type { World } from "../../src/demo/world/world.js";

export async function plainRouting(world: World): Promise<void> {
  const values: Record<string, number> = { "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 };
  const lines: string[] = [];
  const specs = [...world.guests.values()].map((guest) => guest.spec);
  const bare = (network: string): string => network.split("/")[0] ?? "";
  for (const spec of specs) {
    values[`net.ipv4.conf.${spec.tap}.proxy_arp`] = 1;
    values[`net.ipv6.conf.${spec.tap}.proxy_ndp`] = 1;
    values[`net.ipv4.neigh.${spec.tap}.proxy_delay`] = 0;
    values[`net.ipv6.neigh.${spec.tap}.proxy_delay`] = 0;
    for (const address of spec.addresses.map(bare)) lines.push(`route replace ${address} dev ${spec.tap}`);
    const others = specs.filter((other) => other !== spec).flatMap((other) => other.addresses.map(bare));
    for (const address of [...spec.gateways, ...others].filter((text) => text.includes(":"))) {
      lines.push(`neigh replace proxy ${address} dev ${spec.tap}`);
    }
  }
  await world.host.sysctl(values);
  await world.host.ip(...lines);
}
