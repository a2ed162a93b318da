import type { Direction } from "./api.js";
import { binding, type NativeLink } from "./binding.js";
import type { BpfProgram } from "./program.js";

export interface LinkInfo {
  readonly id: number;
  /** BPF_LINK_TYPE_*; tcx is 11. */
  readonly type: number;
  readonly programId: number;
  /** tcx only: where it hangs; ifindex is 0 once the interface is gone or it was detached. */
  readonly ifindex?: number;
  readonly direction?: Direction;
}

const TCX_DIRECTIONS: Readonly<Record<number, Direction>> = { 46: "ingress", 47: "egress" };

/**
 * An attachment that lasts while this descriptor, or a pin, does. Every call throws BpfError (EBADF) after `close()`.
 */
export class BpfLink {
  /** @internal */
  readonly native: NativeLink;

  /** @internal */
  constructor(native: NativeLink) {
    this.native = native;
  }

  /** A pinned link. ENOENT when there is none, EINVAL when it is no link. */
  static open(path: string): BpfLink {
    return new BpfLink(binding.openLink(path));
  }

  /** Any link of this host (needs CAP_SYS_ADMIN). */
  static fromId(id: number): BpfLink {
    return new BpfLink(binding.linkById(id));
  }

  /** Read anew each time: program and interface change. */
  get info(): LinkInfo {
    const { id, type, programId, ifindex, attachType } = this.native.info();
    const direction = attachType === undefined ? undefined : TCX_DIRECTIONS[attachType];
    return {
      id,
      type,
      programId,
      ...(ifindex === undefined ? {} : { ifindex }),
      ...(direction === undefined ? {} : { direction }),
    };
  }

  /** Puts another program in the first one's place, without a packet in between. */
  update(program: BpfProgram): void {
    this.native.update(program.native);
  }

  /** Keeps the attachment in a bpffs; EEXIST when the path is taken. */
  pin(path: string): void {
    this.native.pin(path);
  }

  /** Takes the program off although the link, or its pin, lives on. */
  detach(): void {
    this.native.detach();
  }

  /** Takes the program off too, unless the link is pinned or opened elsewhere. */
  close(): void {
    this.native.close();
  }
}
