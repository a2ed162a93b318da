import type { Attached, Direction } from "./api.js";
import { binding } from "./binding.js";
import { BpfLink } from "./link.js";
import type { BpfProgram } from "./program.js";

export interface TcxPlace {
  readonly ifindex: number;
  readonly direction: Direction;
  readonly program: BpfProgram;
  /** Before all that are there (default: after them). */
  readonly first?: boolean;
  /** Fails with ESTALE when the hook has changed since `tcx.revision` said this. */
  readonly expectedRevision?: bigint;
}

/** tc programs without a qdisc (Linux 6.6), in this process's network namespace. They run before clsact's. */
export const tcx = {
  /** Lasts as long as the link. Not replaced by attaching again: use `link.update`. */
  attach(place: TcxPlace): BpfLink {
    const { ifindex, direction, program, first = false, expectedRevision = 0n } = place;
    return new BpfLink(binding.tcxAttach(ifindex, direction, program.native, first, expectedRevision));
  },

  /** Everything on the hook, in the order in which it runs. ENODEV without the interface, EINVAL without tcx. */
  query(ifindex: number, direction: Direction): Attached[] {
    return binding
      .tcxQuery(ifindex, direction)
      .programs.map(({ programId, name, linkId }) => ({ programId, name, kind: "tcx" as const, linkId }));
  },

  /** Counts the changes of the hook; 0n where nothing was ever attached. */
  revision(ifindex: number, direction: Direction): bigint {
    return binding.tcxQuery(ifindex, direction).revision;
  },
};
