/** What a dataplane must do; BPF and iptables both implement it. Every call may be repeated. */
import type { DesiredDelta, DesiredState } from "../compile/desired.js";
import type { EndpointId, Mac } from "../model/types.js";
import type { Steps } from "../steps.js";

/** An interface that is ours and there right now. */
export interface Tap {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: Mac;
  readonly mtu: number;
  readonly up: boolean;
  /**
   * It has not been switched on since it was first seen: whoever makes it may still be about to set its MAC, which a guest would be told
   * and keep. Its programs are attached, and it passes nothing.
   */
  readonly fresh?: true;
}

/** The tap that may be enforced under this name. */
export function settledTap(taps: Interfaces["taps"], name: string): Tap | undefined {
  const tap = taps.get(name);
  return tap?.fresh === true ? undefined : tap;
}

export interface Uplink {
  readonly name: string;
  readonly ifindex: number;
}

export interface Interfaces {
  /** By name. Taps without an endpoint are here too: they are attached and pass nothing. */
  readonly taps: ReadonlyMap<string, Tap>;
  readonly uplinks: readonly Uplink[];
}

export interface ApplyReport {
  /** Map writes (or rules written), by map. */
  readonly writes: Readonly<Record<string, number>>;
  readonly totalWrites: number;
  readonly milliseconds: number;
  /** What could not be done, by interface or key: retried by the next apply. */
  readonly failures: readonly { readonly where: string; readonly error: Error }[];
  /** Endpoints whose tap is attached and whose whole state has been written. */
  readonly enforced: ReadonlySet<EndpointId>;
}

export interface Backend {
  readonly name: "bpf" | "iptables";
  /** Makes the kernel agree with `desired`. `delta` absent: read the kernel back and write every difference. `steps`: is told what is done. */
  apply(desired: DesiredState, interfaces: Interfaces, delta?: DesiredDelta, steps?: Steps): Promise<ApplyReport>;
  /** Lets go of descriptors; what is enforced stays enforced. */
  close(): Promise<void>;
}
