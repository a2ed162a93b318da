/**
 * D3 where the kernel tracks connections: what is no longer allowed is deleted, and its next packet is judged as a first one. Only
 * connections with an endpoint of this host at an end, and those of the host itself never.
 */
import type { CompiledPolicy, DesiredDelta, DesiredState, PolicyKey } from "../../compile/desired.js";
import { contains, isSingle, prefixToAddress } from "../../model/cidr.js";
import type { Address, EndpointId, Prefix } from "../../model/types.js";
import { concernedEndpoints, lostPrefixes } from "./concern.js";
import type { Conntrack, Failed } from "./conntrack.js";
import type { ConntrackEntry } from "./entry.js";
import { DesiredJudge, openingOf, type Opening } from "./judge.js";

export interface RevokeOptions {
  /** Addresses of the host itself, now (see hostAddresses in host-addresses.ts). */
  readonly hostAddresses: () => ReadonlySet<string>;
  /** Bits of the connection mark that say which end judges every packet by its rules; absent: there are none. */
  readonly stateless?: { readonly opener: number; readonly other: number };
}

export interface RevokeReport {
  /** Entries that were judged. */
  readonly judged: number;
  readonly deleted: number;
  /** Entries whose mark was corrected. */
  readonly marked: number;
  readonly failed: readonly Failed[];
  readonly milliseconds: number;
}

const NOTHING: RevokeReport = { judged: 0, deleted: 0, marked: 0, failed: [], milliseconds: 0 };
/** Entries that are deleted while the table is still being read: what waits for it is bounded. */
const MOST_WAITING = 4096;

export class Revoker {
  readonly #conntrack: Pick<Conntrack, "each" | "deleteAll" | "setMarks">;
  readonly #options: RevokeOptions;
  #judge: DesiredJudge | undefined;
  #policies: ReadonlyMap<PolicyKey, CompiledPolicy> = new Map();
  /** Addresses that were taken away; kept until a reading has succeeded. */
  #lost = new Set<Prefix>();
  #concerned: Set<EndpointId> | "all" = "all";

  constructor(conntrack: Pick<Conntrack, "each" | "deleteAll" | "setMarks">, options: RevokeOptions) {
    this.#conntrack = conntrack;
    this.#options = options;
  }

  /**
   * To be called when the rules of `desired` are in force. `delta` absent: every connection of ours is judged. One call at a time. What
   * failed is judged again by the next call. @throws NetlinkError when the table can't be read; the next call then does all of it
   */
  async run(desired: DesiredState, delta?: DesiredDelta): Promise<RevokeReport> {
    const began = performance.now();
    this.#note(desired, delta);
    const judge = this.#judge;
    if (judge === undefined || (this.#concerned !== "all" && this.#concerned.size === 0 && this.#lost.size === 0))
      return NOTHING;
    const pass = new Pass(judge, this.#concerned, [...this.#lost], this.#options);
    const failed: Failed[] = [];
    let deleted = 0;
    let deleting: Promise<void> = Promise.resolve();
    const flush = (): void => {
      const entries = pass.doomed.splice(0);
      deleting = deleting.then(async () => {
        const done = await this.#conntrack.deleteAll(entries);
        deleted += done.done;
        failed.push(...done.failed);
      });
    };
    await this.#conntrack.each((entry) => {
      pass.look(entry);
      if (pass.doomed.length >= MOST_WAITING) flush();
    });
    flush();
    await deleting;
    const marked = await this.#conntrack.setMarks(pass.toMark);
    failed.push(...marked.failed);
    if (failed.length === 0) {
      this.#concerned = new Set();
      this.#lost = new Set();
    }
    return { judged: pass.judged, deleted, marked: marked.done, failed, milliseconds: performance.now() - began };
  }

  /** What this call has to look at, and what a former one that failed has left. */
  #note(desired: DesiredState, delta: DesiredDelta | undefined): void {
    if (this.#judge === undefined) {
      this.#judge = new DesiredJudge(desired);
      this.#concerned = "all";
    } else {
      const changed = delta ?? {
        endpoints: new Set([...this.#judge.endpoints(), ...desired.endpoints.keys()]),
        prefixes: new Set([...this.#judge.prefixes(), ...desired.prefixes.keys()]),
      };
      for (const id of changed.endpoints)
        for (const prefix of lostPrefixes(this.#judge.ownedBy(id), desired.endpoints.get(id)?.owned))
          this.#lost.add(prefix);
      this.#judge.update(desired, changed);
      if (delta === undefined) this.#concerned = "all";
      else if (this.#concerned !== "all")
        for (const id of concernedEndpoints(desired, delta, this.#policies)) this.#concerned.add(id);
    }
    if (delta === undefined || delta.policies.size > 0) this.#policies = new Map(desired.policies);
  }
}

/** One reading of the table. */
class Pass {
  readonly doomed: ConntrackEntry[] = [];
  readonly toMark: { readonly entry: ConntrackEntry; readonly mark: number }[] = [];
  judged = 0;
  #hosts: ReadonlySet<string> | undefined;
  readonly #lostSingles: ReadonlySet<string>;
  readonly #lostWide: readonly Prefix[];

  constructor(
    private readonly judge: DesiredJudge,
    private readonly concerned: ReadonlySet<EndpointId> | "all",
    lost: readonly Prefix[],
    private readonly options: RevokeOptions,
  ) {
    this.#lostSingles = new Set(lost.filter(isSingle).map(prefixToAddress));
    this.#lostWide = lost.filter((prefix) => !isSingle(prefix));
  }

  look(entry: ConntrackEntry): void {
    const opening = openingOf(entry);
    const { source, destination } = opening;
    const lost = this.#isLost(source) || this.#isLost(destination);
    if (!lost && !this.#concerns(opening)) return;
    if (this.#isHosts(source) || this.#isHosts(destination) || this.#isHosts(entry.original.destination)) return;
    if (lost) {
      this.judged++;
      this.doomed.push(entry);
      return;
    }
    const verdict = this.judge.judge(opening);
    if (verdict === undefined) return;
    this.judged++;
    if (!verdict.allowed) {
      this.doomed.push(entry);
      return;
    }
    const { stateless } = this.options;
    if (stateless === undefined) return;
    const bits = (verdict.openerStateless ? stateless.opener : 0) | (verdict.otherStateless ? stateless.other : 0);
    const mark = ((entry.mark & ~(stateless.opener | stateless.other)) | bits) >>> 0;
    if (mark !== entry.mark) this.toMark.push({ entry, mark });
  }

  #concerns({ source, destination }: Opening): boolean {
    const { concerned } = this;
    if (concerned === "all") return true;
    const is = ({ id }: { readonly id: EndpointId }): boolean => concerned.has(id);
    return this.judge.owners(source).some(is) || this.judge.owners(destination).some(is);
  }

  /** The host's own, or what no router forwards and so only the host could have been meant by. */
  #isHosts(address: Address): boolean {
    // Reading them takes milliseconds where there are hundreds of interfaces; most changes concern no connection.
    this.#hosts ??= this.options.hostAddresses();
    return this.#hosts.has(address) || NEVER_FORWARDED.test(address);
  }

  #isLost(address: Address): boolean {
    return this.#lostSingles.has(address) || this.#lostWide.some((prefix) => contains(prefix, address));
  }
}

/** 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 255.255.255.255, 0.0.0.0, ::, ::1, fe80::/10, ff00::/8 as canonical text. */
const NEVER_FORWARDED = /^(127\.|169\.254\.|22[4-9]\.|23\d\.|255\.255\.255\.255$|0\.0\.0\.0$|::1?$|fe[89ab].:|ff..:)/;
