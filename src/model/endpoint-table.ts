/** Every endpoint of the cloud, with the labels of its profiles added. Little is kept of those of other hosts. */
import { BigMap } from "./big-map.js";
import type { LabelInterner } from "./labels.js";
import type { EndpointDraft } from "./parse-endpoint.js";
import type { Endpoint, EndpointId, LabelSet, LocalWorkload, Prefix, Profile } from "./types.js";
import { same } from "./same.js";

export class EndpointTable {
  readonly endpoints = new BigMap<EndpointId, Endpoint | LocalWorkload>();
  readonly locals = new Map<EndpointId, LocalWorkload>();
  /** Only of endpoints that have profiles: their labels must be made anew when a profile changes. */
  private readonly drafts = new Map<EndpointId, EndpointDraft>();
  private readonly byProfile = new Map<string, Set<EndpointId>>();

  constructor(
    private readonly labels: LabelInterner,
    private readonly profiles: ReadonlyMap<string, Profile>,
  ) {}

  /** Whether anything is different now. */
  put(draft: EndpointDraft): boolean {
    this.forgetProfiles(draft.id);
    if (draft.profiles.length > 0) {
      this.drafts.set(draft.id, draft);
      for (const profile of draft.profiles) this.membersOf(profile).add(draft.id);
    }
    return this.place(draft);
  }

  delete(id: EndpointId): boolean {
    this.forgetProfiles(id);
    this.locals.delete(id);
    return this.endpoints.delete(id);
  }

  /** After a profile changed: the endpoints whose labels are different now. */
  relabel(profile: string): readonly EndpointId[] {
    return [...(this.byProfile.get(profile) ?? [])].filter((id) => {
      const draft = this.drafts.get(id);
      return draft !== undefined && this.place(draft);
    });
  }

  private place(draft: EndpointDraft): boolean {
    const { id, key, node, prefixes } = draft;
    const base: Endpoint = { id, key, node, prefixes, labels: this.labelsOf(draft) };
    const former = this.endpoints.get(id);
    const next = draft.local === undefined ? base : { ...base, ...draft.local, profiles: draft.profiles };
    const changed = former === undefined || !sameEndpoint(former, next);
    // An equal one of this host is replaced too: only its origin is newer.
    if (changed || draft.local !== undefined) this.endpoints.set(id, next);
    if (draft.local === undefined) this.locals.delete(id);
    else this.locals.set(id, next as LocalWorkload);
    return changed;
  }

  /** Its own labels win over those of profiles, an earlier profile's over a later's (as in Felix' label inheritance). */
  private labelsOf(draft: EndpointDraft): LabelSet {
    if (draft.profiles.length === 0) return this.labels.intern(draft.labels);
    const all = new Map(draft.labels);
    for (const profile of draft.profiles) {
      for (const [key, value] of this.profiles.get(profile)?.labels ?? []) if (!all.has(key)) all.set(key, value);
    }
    return this.labels.intern(all);
  }

  private membersOf(profile: string): Set<EndpointId> {
    let members = this.byProfile.get(profile);
    if (members === undefined) this.byProfile.set(profile, (members = new Set()));
    return members;
  }

  private forgetProfiles(id: EndpointId): void {
    for (const profile of this.drafts.get(id)?.profiles ?? []) {
      const members = this.byProfile.get(profile);
      members?.delete(id);
      if (members?.size === 0) this.byProfile.delete(profile);
    }
    this.drafts.delete(id);
  }
}

/** Remote endpoints are many, and compared field by field. */
function sameEndpoint(a: Endpoint | LocalWorkload, b: Endpoint | LocalWorkload): boolean {
  if ("interfaceName" in a || "interfaceName" in b) return same(a, b);
  return a.labels === b.labels && a.node === b.node && samePrefixes(a.prefixes, b.prefixes);
}

function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  return a.length === b.length && a.every((prefix, i) => prefix === b[i]);
}
