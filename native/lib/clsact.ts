import type { Attached, Direction } from "./api.js";
import { binding } from "./binding.js";
import { BpfError } from "./errors.js";
import type { BpfProgram } from "./program.js";

export interface ClsactPlace {
  readonly ifindex: number;
  readonly direction: Direction;
  /** 1 to 65535; lower runs first. */
  readonly priority: number;
  /** From 1. */
  readonly handle: number;
}

/** tc programs (direct action, all protocols) on the clsact qdisc, in this process's network namespace. */
export const clsact = {
  /** Creates the qdisc where it is missing; replaces in place, without a gap, what has this priority and handle. */
  attach(place: ClsactPlace & { readonly program: BpfProgram }): void {
    binding.clsactAttach(place.ifindex, place.direction, place.program.native, place.priority, place.handle);
  },

  /** False: nothing was there. ENODEV when the interface is gone. */
  detach(place: ClsactPlace): boolean {
    try {
      binding.clsactDetach(place.ifindex, place.direction, place.priority, place.handle);
      return true;
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      if (error.code === "ENOENT") return false;
      // Without the qdisc the kernel says EINVAL, as it does for much else.
      const isThere = clsact.query(place.ifindex, place.direction).some((it) => it.priority === place.priority);
      if (error.code === "EINVAL" && !isThere) return false;
      throw error;
    }
  },

  /**
   * Removes the qdisc when nothing is attached to it any more, in either direction and by anybody. False: something is,
   * or there is no qdisc. (Someone who attaches between the look and the removal loses their filter.)
   */
  removeQdisc(ifindex: number): boolean {
    if (binding.clsactQuery(ifindex, "ingress").length > 0 || binding.clsactQuery(ifindex, "egress").length > 0) {
      return false;
    }
    try {
      binding.clsactRemove(ifindex);
      return true;
    } catch (error) {
      if (error instanceof BpfError && (error.code === "ENOENT" || error.code === "EINVAL")) return false;
      throw error;
    }
  },

  /**
   * Every filter on the hook, whoever put it there, in the order in which they run. A filter that is no BPF program has
   * programId 0 and its kind ("flower", "matchall", …) for a name; one of classic BPF has "bpf". None when the qdisc or the interface is missing.
   */
  query(ifindex: number, direction: Direction): Attached[] {
    return binding
      .clsactQuery(ifindex, direction)
      .map(({ programId, name, filter, priority, handle }) => ({
        programId,
        name: filter === "bpf" && name !== "" ? name : filter,
        kind: "clsact" as const,
        priority,
        handle,
      }))
      .sort((a, b) => a.priority - b.priority);
  },
};
