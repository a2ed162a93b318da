/** The ports of the measured host, and how they are written into etcd. Pure. */
import { allow, dotted, FROM, group, HOSTNAME, workload, type Entry } from "./cloud.js";

const hex = (n: number): string => n.toString(16).padStart(2, "0");
export const address = (i: number): string => dotted(FROM + i);
export const guestMac = (i: number): string => `fa:16:3e:00:${hex(i >> 8)}:${hex(i & 255)}`;

/** Port i of this host: in the group that all share, and in one of its own, so that no two have the same policy set. */
export function port(i: number): Entry[] {
  const place = { node: HOSTNAME, name: `port${i}`, tap: `tapl${i}`, mac: guestMac(i), address: address(i) };
  return [group(`own${i}`, [allow(6, 10_000 + i)]), workload({ ...place, groups: ["shared", `own${i}`] })];
}

export const tapNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `tapl${i}`);
