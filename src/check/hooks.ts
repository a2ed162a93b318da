/** Whether the pinned programs, and no others before them, are on the hooks of every tap and uplink, and nowhere else. */
import { existsSync } from "node:fs";
import { BpfError, BpfProgram } from "#libbpf";
import { HOOKS, isOurs, queryHook, type Role } from "../dataplane/bpf/attach.js";
import type { Interfaces } from "../dataplane/backend.js";
import { programPath, PROGRAMS } from "../dataplane/bpf/pins.js";
import type { Difference } from "./difference.js";

/** Ids of the pinned programs by name; one that is not pinned is left out. */
export function pinnedPrograms(pinDir: string): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const name of PROGRAMS) {
    const path = programPath(pinDir, name);
    if (!existsSync(path)) continue;
    const program = BpfProgram.open(path);
    ids.set(name, program.info.id);
    program.close();
  }
  return ids;
}

/** @param links every interface of the host, by ifindex */
export function compareHooks(
  programs: ReadonlyMap<string, number>,
  { taps, uplinks }: Interfaces,
  links: ReadonlyMap<number, string>,
): Difference[] {
  const roles = new Map<number, Role>();
  for (const { ifindex } of uplinks) roles.set(ifindex, "uplink");
  for (const { ifindex } of taps.values()) roles.set(ifindex, "tap");
  return [...links].flatMap(([ifindex, name]) => {
    try {
      return ofInterface(programs, ifindex, name, roles.get(ifindex));
    } catch (error) {
      if (error instanceof BpfError && error.code === "ENODEV") return []; // it has gone meanwhile
      throw error;
    }
  });
}

function ofInterface(
  programs: ReadonlyMap<string, number>,
  ifindex: number,
  name: string,
  role: Role | undefined,
): Difference[] {
  const found: Difference[] = [];
  for (const direction of ["ingress", "egress"] as const) {
    const where = `${name} ${direction}`;
    const all = queryHook(ifindex, direction);
    const wanted = role === undefined ? undefined : HOOKS[role].find((hook) => hook.direction === direction)?.program;
    const id = wanted === undefined ? undefined : programs.get(wanted);
    const at = all.findIndex(({ programId }) => programId === id);
    if (wanted !== undefined) {
      const others = all.slice(0, at < 0 ? all.length : at).map(({ name: other }) => other);
      if (at < 0)
        found.push({
          kind: "hook",
          where,
          key: "",
          is: others.length === 0 ? null : others.join(", "),
          wanted: `${wanted}${id === undefined ? ", which is not pinned" : ""}`,
        });
      else if (others.length > 0)
        found.push({
          kind: "hook",
          where,
          key: "",
          is: `${others.join(", ")} before ${wanted}`,
          wanted: `${wanted} first`,
        });
    } else
      for (const { name: other } of role === undefined ? all : [])
        if (isOurs(other)) found.push({ kind: "hook", where, key: "", is: other, wanted: null });
  }
  return found;
}
