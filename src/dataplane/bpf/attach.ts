/** Our programs on the hooks of taps and uplinks: idempotent, in place, and never in anyone's way but ahead of them. */
import { existsSync, mkdirSync, unlinkSync } from "node:fs";
import { BpfError, BpfLink, clsact, features, tcx, type Attached, type BpfProgram, type Direction } from "#libbpf";
import { DataplaneError, UnsupportedError } from "../../errors.js";
import type { HookChange } from "../../links/types.js";
import { linkPath, linksDir, PROGRAMS, type ProgramName } from "./pins.js";

/** First: a foreign filter that came before ours could let a packet by. */
export const PRIORITY = 1;
export const HANDLE = 0x70b1;

export type AttachMode = "clsact" | "tcx";
export type Role = "tap" | "uplink";

/** What belongs on which hook. */
export const HOOKS: Readonly<
  Record<Role, readonly { readonly direction: Direction; readonly program: ProgramName }[]>
> = {
  tap: [
    { direction: "ingress", program: "tap_ingress" },
    { direction: "egress", program: "tap_egress" },
  ],
  uplink: [{ direction: "ingress", program: "uplink_ingress" }],
};

/**
 * clsact where there is one: tcx takes a hundred times as long to attach.
 * @throws UnsupportedError when the kernel has no hook, or not the one that is asked for
 */
export function chooseMode(
  wish: AttachMode | "auto",
  has: Pick<typeof features, AttachMode | "kernel"> = features,
): AttachMode {
  try {
    if (wish === "auto") {
      if (has.clsact()) return "clsact";
      if (has.tcx()) return "tcx";
    } else if (has[wish]()) return wish;
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    // To try it out takes a scratch network namespace, and that CAP_SYS_ADMIN, which a daemon had better not have. Where BPF itself is
    // refused, loading says so.
    return wish === "auto" ? "clsact" : wish;
  }
  throw noHook(has.kernel(), wish);
}

/** What the kernel lacks to run programs on interfaces, and what to do about it. */
export function noHook(kernel: string, wish: AttachMode | "auto"): UnsupportedError {
  const clsact = "clsact with BPF filters (modules sch_ingress, cls_bpf)";
  const lacks =
    wish === "auto"
      ? `neither ${clsact} nor tcx (Linux 6.6)`
      : wish === "clsact"
        ? `no ${clsact}, which \`attach\` asks for`
        : "no tcx (Linux 6.6), which `attach` asks for";
  const or = wish === "auto" ? "" : ", or set attach to auto";
  return new UnsupportedError("NO_HOOK", `kernel ${kernel} has ${lacks}: use the dataplane iptables${or}`);
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
  /** Of those, what somebody else has touched, or what could not be put right: to be looked at before it is believed. */
  readonly #doubted = new Set<number>();

  constructor(
    private readonly programs: ReadonlyMap<ProgramName, BpfProgram>,
    private readonly mode: AttachMode,
    private readonly pinDir: string,
  ) {}

  /**
   * Makes sure that the interface has our programs. `verify`: look even if it is thought to be attached. Returns how many hooks were written.
   * Throws BpfError (ENODEV: the interface is gone), DataplaneError NO_EGRESS_HOOK.
   */
  ensure(ifindex: number, role: Role, verify: boolean): number {
    if (!verify && this.#attached.get(ifindex) === role && !this.#doubted.has(ifindex)) return 0;
    this.#doubted.add(ifindex);
    let writes = 0;
    for (const { direction, program } of this.hooks(role)) if (this.#ensureHook(ifindex, direction, program)) writes++;
    this.#attached.set(ifindex, role);
    this.#doubted.delete(ifindex);
    return writes;
  }

  /** Only what meets packets as they come in; ensure() is still to be called. @throws as ensure() */
  ensureIngress(ifindex: number, role: Role): void {
    for (const { direction, program } of this.hooks(role))
      if (direction === "ingress") this.#ensureHook(ifindex, direction, program);
  }

  /** The loaded program for each hook of an interface. */
  hooks(role: Role): readonly { readonly direction: Direction; readonly program: BpfProgram }[] {
    return HOOKS[role].map(({ direction, program }) => ({ direction, program: this.#program(program) }));
  }

  /** Asks the kernel: a program of ours, of whichever build, has our place on every hook of the interface. replace() takes it over. */
  isReplaceable(ifindex: number, role: Role): boolean {
    return (
      this.mode === "clsact" &&
      HOOKS[role].every(({ direction, program }) =>
        clsact
          .query(ifindex, direction)
          .some(
            ({ name, priority, handle }) =>
              priority === PRIORITY && handle === HANDLE && bareName(name) === program.slice(0, 15),
          ),
      )
    );
  }

  /** Puts our programs where isReplaceable() has found others, without another look; ensure() must look afterwards. @throws BpfError */
  replace(ifindex: number, role: Role): void {
    for (const { direction, program } of this.hooks(role))
      clsact.attach({ ifindex, direction, program, priority: PRIORITY, handle: HANDLE });
  }

  /** Asks the kernel: a program of ours, of whichever build, is on a hook of the interface. */
  isGuarded(ifindex: number, role: Role): boolean {
    return HOOKS[role].some(({ direction }) => queryHook(ifindex, direction).some(({ name }) => isOurs(name)));
  }

  #ensureHook(ifindex: number, direction: Direction, program: BpfProgram): boolean {
    if (this.mode === "tcx") return ensureTcx(this.pinDir, ifindex, direction, program);
    const there = clsact.query(ifindex, direction);
    if (direction === "ingress" || !this.#isIngressOnly(there)) return ensureClsact(ifindex, direction, program, there);
    if (features.tcx()) return ensureTcx(this.pinDir, ifindex, direction, program);
    throw new DataplaneError(
      "NO_EGRESS_HOOK",
      "someone's ingress qdisc (libvirt makes one for bandwidth limits) leaves no place for a program at egress, which this kernel (before Linux 6.6) can attach in no other way: nothing passes until `tc qdisc del dev … ingress`",
      { retryable: true },
    );
  }

  #program(name: ProgramName): BpfProgram {
    const loaded = this.programs.get(name);
    if (loaded === undefined) throw new DataplaneError("NO_PROGRAM", `program ${name} is not loaded`);
    return loaded;
  }

  /**
   * Whether there is a qdisc of kind ingress where ours is clsact. It has one list of filters, which the kernel shows and changes whichever
   * direction is named: a program for egress would take the place of the one at ingress. To be asked when tap_ingress is attached.
   * @param atEgress what the kernel shows there
   */
  #isIngressOnly(atEgress: readonly Attached[]): boolean {
    const { id } = this.#program("tap_ingress").info;
    return atEgress.some(({ programId }) => programId === id);
  }

  /** Somebody changed tc filters; undefined: any interface's may have been. False: it concerns nothing that is attached, or was our own doing. */
  doubt(change: HookChange | undefined): boolean {
    if (change === undefined) for (const ifindex of this.#attached.keys()) this.#doubted.add(ifindex);
    else {
      const { ifindex, filter } = change;
      const own = filter !== undefined && !filter.gone && filter.priority === PRIORITY && filter.handle === HANDLE;
      if (own || !this.#attached.has(ifindex)) return false;
      this.#doubted.add(ifindex);
    }
    return true;
  }

  /** Takes our programs off every interface that we attached to and that is not among `keep`; one that is gone is forgotten. */
  release(keep: ReadonlyMap<number, Role>): number {
    let writes = 0;
    for (const [ifindex, role] of this.#attached) {
      if (keep.get(ifindex) === role) continue;
      for (const { direction } of HOOKS[role]) if (detach(this.pinDir, ifindex, direction)) writes++;
      this.#attached.delete(ifindex);
      this.#doubted.delete(ifindex);
    }
    return writes;
  }

  /** Nothing that is thought to be attached is in doubt. */
  get isSure(): boolean {
    return this.#doubted.size === 0;
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
      const there = queryHook(ifindex, direction);
      const byTc = there.filter(({ kind }) => kind !== "tcx");
      const shared = role === "tap" && direction === "egress" && this.#isIngressOnly(byTc);
      const all = there.filter(({ kind }) => !shared || kind === "tcx");
      const at = all.findIndex(({ programId }) => programId === ours);
      return all.flatMap((entry, i) =>
        entry.programId === ours ? [] : [{ ifindex, direction, name: entry.name, before: at < 0 || i < at }],
      );
    });
  }
}

/** libbpf and tc name a filter "<program>:[<id>]", of one that is pinned "<program>:[*fsobj]". */
function bareName(name: string): string {
  return name.replace(/:\[[^\]]*\]$/, "");
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

function ensureClsact(ifindex: number, direction: Direction, program: BpfProgram, there: readonly Attached[]): boolean {
  const { id } = program.info;
  const stands = there.some(
    ({ programId, priority, handle }) => programId === id && priority === PRIORITY && handle === HANDLE,
  );
  if (!stands) clsact.attach({ ifindex, direction, program, priority: PRIORITY, handle: HANDLE });
  return !stands;
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

/**
 * Takes ours off one hook, however it was attached. False: nothing of ours was there.
 * @param keepQdisc leave an empty clsact: the kernel drops what is sent while one is taken away
 */
export function detach(pinDir: string, ifindex: number, direction: Direction, keepQdisc = false): boolean {
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
      if (!keepQdisc) clsact.removeQdisc(ifindex);
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
