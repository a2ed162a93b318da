/** One round of real packets between all guests, all at a time. */
import type { Guest } from "./world/guest.js";
import { cellKey, type Cell, type Matrix, type Service } from "./matrix.js";

export const PING: Service = "ping";

/** Tries every port and ping from everyone to everyone over both families; takes as long as its slowest time-out. */
export async function measure(guests: readonly Guest[], ports: readonly number[]): Promise<Matrix> {
  const services = [...ports.map(String), PING];
  const pairs = guests.flatMap((from) => guests.filter((to) => to !== from).map((to) => [from, to] as const));
  const cells = await Promise.all(
    pairs.map(async ([from, to]): Promise<[string, Cell]> => {
      const [v4, v6] = await Promise.all(([4, 6] as const).map((family) => passing(from, to, family, services)));
      return [cellKey(from.spec.name, to.spec.name), { v4: v4 ?? new Set(), v6: v6 ?? new Set() }];
    }),
  );
  return { names: guests.map((guest) => guest.spec.name), services, cells: new Map(cells) };
}

async function passing(from: Guest, to: Guest, family: 4 | 6, services: readonly Service[]): Promise<Set<Service>> {
  const address = to.spec.addresses
    .map((network) => network.split("/")[0] ?? "")
    .find((text) => text.includes(":") === (family === 6));
  if (address === undefined) return new Set();
  const results = await Promise.all(
    services.map((service) => (service === PING ? from.probe.ping(address) : from.probe.tcp(address, Number(service)))),
  );
  return new Set(services.filter((_, i) => results[i]?.result === "ok"));
}
