/** Our programs on the hooks of taps and uplinks: idempotent, in place, and never in anyone's way but ahead of them. */
import { existsSync, mkdirSync, unlinkSync } from "node:fs";
import { BpfError, BpfLink, clsact, features, tcx, type Attached, type BpfProgram, type Direction } from "#libbpf";
import { DataplaneError } from "../../errors.js";
import { linkPath, linksDir, PROGRAMS, type ProgramName } from "./pins.js";

/** First: a foreign filter that came before ours could let a packet by. */
export const PRIORITY = 1;
export const HANDLE = 0x70b1;

export type AttachMode = "clsact" | "tcx";
export type Role = "tap" | "uplink";

const HOOKS: Readonly<Record<Role, readonly { readonly direction: Direction; readonly program: ProgramName }[]>> = {
  tap: [
    { direction: "ingress", program: "tap_ingress" },
    { direction: "egress", program: "tap_egress" },
  ],
  uplink: [{ direction: "ingress", program: "uplink_ingress" }],
};

/** clsact where there is one: tcx takes a hundred times as long to attach. */
export function chooseMode(wish: AttachMode | "auto"): AttachMode {
  if (wish !== "auto") return wish;
  try {
    return features.clsact() ? "clsact" : "tcx";
  } catch (error) {
    // To try it out takes a scratch network namespace, and that CAP_SYS_ADMIN, which a daemon had better not have.
    if (error instanceof BpfError && (error.code === "EPERM" || error.code === "EACCES")) return "clsact";
    throw error;
  }
}

export interface ForeignProgram {
  readonly ifindex: number;
  readonly direction: Direction;
  readonly name: string;
  /** It runs before ours and may decide without us. */
  readonly before: boolean;
}

export class Attacher {
  /** What is known to be attached: ifindex and role. */
  readonly #attached = new Map<number, Role>();

  constructor(
    private readonly programs: ReadonlyMap<ProgramName, BpfProgram>,
    private readonly mode: AttachMode,
    private readonly pinDir: string,
  ) {}

  /**
   * Makes sure that the interface has our programs. `verify`: look even if it is thought to be attached. Returns how many hooks were written.
   * Throws BpfError (ENODEV: the interface is gone).
   */
  ensure(ifindex: number, role: Role, verify: boolean): number {
    if (!verify && this.#attached.get(ifindex) === role) return 0;
    let writes = 0;
    for (const { direction, program } of this.hooks(role)) {
      if (
        this.mode === "clsact"
          ? ensureClsact(ifindex, direction, program)
          : ensureTcx(this.pinDir, ifindex, direction, program)
      )
        writes++;
    }
    this.#attached.set(ifindex, role);
    return writes;
  }

  /** The loaded program for each hook of an interface. */
  hooks(role: Role): readonly { readonly direction: Direction; readonly program: BpfProgram }[] {
    return HOOKS[role].map(({ direction, program }) => {
      const loaded = this.programs.get(program);
      if (loaded === undefined) throw new DataplaneError("NO_PROGRAM", `program ${program} is not loaded`);
      return { direction, program: loaded };
    });
  }

  /** Asks the kernel: a program of ours, of whichever build, is on a hook of the interface. */
  isGuarded(ifindex: number, role: Role): boolean {
    return HOOKS[role].some(({ direction }) => queryHook(ifindex, direction).some(({ name }) => isOurs(name)));
  }

  /** Takes our programs off every interface that we attached to and that is not among `keep`; one that is gone is forgotten. */
  release(keep: ReadonlyMap<number, Role>): number {
    let writes = 0;
    for (const [ifindex, role] of this.#attached) {
      if (keep.get(ifindex) === role) continue;
      for (const { direction } of HOOKS[role]) if (detach(this.pinDir, ifindex, direction)) writes++;
      this.#attached.delete(ifindex);
    }
    return writes;
  }

  has(ifindex: number): boolean {
    return this.#attached.has(ifindex);
  }

  /** Asks the kernel: our programs, of this load, are on every hook of the interface. */
  holds(ifindex: number, role: Role): boolean {
    return HOOKS[role].every(({ direction, program }) => {
      const ours = this.programs.get(program)?.info.id;
      return queryHook(ifindex, direction).some(({ programId }) => programId === ours);
    });
  }

  /** Programs of others on the same hooks. */
  foreign(ifindex: number, role: Role): ForeignProgram[] {
    return HOOKS[role].flatMap(({ direction, program }) => {
      const ours = this.programs.get(program)?.info.id;
      const all = queryHook(ifindex, direction);
      const at = all.findIndex(({ programId }) => programId === ours);
      return all.flatMap((entry, i) =>
        entry.programId === ours ? [] : [{ ifindex, direction, name: entry.name, before: at < 0 || i < at }],
      );
    });
  }
}

/** libbpf and tc name a filter "<program>:[<id>]". */
function bareName(name: string): string {
  return name.replace(/:\[\d+\]$/, "");
}

/** Everything on a hook in the order in which it runs: tcx first. */
export function queryHook(ifindex: number, direction: Direction): Attached[] {
  const newer = ((): Attached[] => {
    try {
      return tcx.query(ifindex, direction);
    } catch (error) {
      if (error instanceof BpfError) return [];
      throw error;
    }
  })();
  return [...newer, ...clsact.query(ifindex, direction)].map((entry) => ({ ...entry, name: bareName(entry.name) }));
}

function ensureClsact(ifindex: number, direction: Direction, program: BpfProgram): boolean {
  const there = clsact
    .query(ifindex, direction)
    .some(
      ({ programId, priority, handle }) => programId === program.info.id && priority === PRIORITY && handle === HANDLE,
    );
  if (!there) clsact.attach({ ifindex, direction, program, priority: PRIORITY, handle: HANDLE });
  return !there;
}

function ensureTcx(pinDir: string, ifindex: number, direction: Direction, program: BpfProgram): boolean {
  const path = linkPath(pinDir, ifindex, direction);
  if (existsSync(path)) {
    const link = BpfLink.open(path);
    try {
      const { ifindex: where, programId } = link.info;
      if (where === ifindex) {
        if (programId === program.info.id) return false;
        link.update(program);
        return true;
      }
    } finally {
      link.close();
    }
    unlinkSync(path);
  }
  mkdirSync(linksDir(pinDir), { recursive: true, mode: 0o700 });
  const link = tcx.attach({ ifindex, direction, program, first: true });
  try {
    link.pin(path);
  } finally {
    link.close();
  }
  return true;
}

/** Takes ours off one hook, however it was attached. False: nothing of ours was there. */
export function detach(pinDir: string, ifindex: number, direction: Direction): boolean {
  let found = false;
  const path = linkPath(pinDir, ifindex, direction);
  if (existsSync(path)) {
    // Not by the unlinking alone: the kernel lets go of a link that nothing holds only a moment later.
    const link = BpfLink.open(path);
    try {
      link.detach();
    } catch (error) {
      if (!(error instanceof BpfError)) throw error; // its interface is gone, and the link with it
    } finally {
      link.close();
    }
    unlinkSync(path);
    found = true;
  }
  try {
    const ours = clsact
      .query(ifindex, direction)
      .some(({ name, priority, handle }) => priority === PRIORITY && handle === HANDLE && isOurs(name));
    if (ours && clsact.detach({ ifindex, direction, priority: PRIORITY, handle: HANDLE })) {
      found = true;
      clsact.removeQdisc(ifindex);
    }
  } catch (error) {
    if (!(error instanceof BpfError) || error.code !== "ENODEV") throw error;
  }
  return found;
}

/** Whether a filter or program is named as ours are; the kernel keeps 15 characters. */
export function isOurs(name: string): boolean {
  return PROGRAMS.some((program) => program.slice(0, 15) === bareName(name));
}
