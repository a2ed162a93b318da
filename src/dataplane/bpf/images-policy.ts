/**
 * One policy → what it puts into every set that holds it (D2). Pure.
 *
 * Where a plane only allows ("open"), order does not matter: entries depend on the policy alone, so each policy is expanded once and put into
 * every set that holds it, and a change is the difference of two expansions. Any other plane is written as a whole (images-plane.ts).
 */
import { readU32, type Bytes } from "../../abi/records.js";
import type { ClassKey, CompiledPolicy, DesiredRule } from "../../compile/desired.js";
import { expandedTo, expandOpen, ORDER, type Side } from "./images-rule.js";
import { coversMasks, noMasks, uniteMasks, type Masks } from "./masks.js";

/** Numbers that the expansion needs; the registry behind it gives them out. */
export interface Numbering {
  rule(rule: DesiredRule, policy: CompiledPolicy, side: Side): number;
  /** A class's own number first, then those of the composites that it is a member of. */
  classes(key: ClassKey): readonly number[];
}

/** One policy in one direction. Keys are for policy set 0 and plane 0; see placePolicyKey. */
export interface PolicyHalf {
  /** Only allow rules, and none names source ports: order within it does not matter. */
  readonly open: boolean;
  readonly stateless: boolean;
  readonly stateful: boolean;
  /** Empty unless open. */
  readonly entries: ReadonlyMap<Bytes, Bytes>;
  readonly masks: Masks;
  /** Every rule has entries, and none has one that another has as well: a rule can be taken out alone. */
  readonly separate: boolean;
}

export interface PolicyImage {
  readonly source: CompiledPolicy;
  readonly rules: ReadonlySet<number>;
  readonly ingress: PolicyHalf;
  readonly egress: PolicyHalf;
}

/** More differing rules than this are expanded with all the others. */
const FEW_RULES = 64;

/**
 * The half whose rules differ from a former one's in a few places, worked out from that; undefined: it takes a whole expansion. `rules` are
 * the former image's numbers and become the new one's.
 */
function amended(
  former: PolicyImage,
  policy: CompiledPolicy,
  side: Side,
  numbering: Numbering,
  rules: Set<number>,
): PolicyHalf | undefined {
  const half = former[side];
  const [was, now] = [former.source[side], policy[side]];
  if (was === now) return half;
  if (!half.open || !half.separate) return undefined;
  const shorter = Math.min(was.length, now.length);
  let [head, tail] = [0, 0];
  while (head < shorter && was[head] === now[head]) head++;
  while (tail < shorter - head && was[was.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const gone = was.slice(head, was.length - tail);
  const come = now.slice(head, now.length - tail);
  if (gone.length + come.length > FEW_RULES || !come.every(isOpenRule)) return undefined;

  const entries = new Map(half.entries);
  const masks: Masks[] = [];
  for (const rule of gone) {
    const known = expandedTo(rule);
    if (known?.side !== side || !rules.delete(known.number)) return undefined;
    for (const [key, value] of known.entries) if (entries.get(key) !== value || !entries.delete(key)) return undefined;
    masks.push(known.masks);
  }
  // Whether others still ask for what the rules that are gone asked for: mostly the first one does.
  const lost = uniteMasks(masks);
  let kept = noMasks();
  for (const rule of [...now.slice(0, head), ...now.slice(now.length - tail)]) {
    if (coversMasks(kept, lost)) break;
    const known = expandedTo(rule);
    if (known?.side !== side) return undefined;
    kept = uniteMasks([kept, known.masks]);
  }
  const others = coversMasks(kept, lost) ? half.masks : kept;
  const added: Masks[] = [others];
  for (const rule of come) {
    const number = numbering.rule(rule, policy, side);
    const expansion = expandOpen(rule, side, number, numbering.classes(rule.remote));
    if (rules.has(number) || expansion.entries.length === 0) return undefined;
    rules.add(number);
    added.push(expansion.masks);
    for (const [key, value] of expansion.entries) {
      if (entries.has(key)) return undefined;
      entries.set(key, value);
    }
  }
  return { open: true, entries, masks: uniteMasks(added), separate: true, ...memories(now) };
}

const isOpenRule = (rule: DesiredRule): boolean => rule.action === "allow" && rule.sourcePorts === undefined;

const memories = (rules: readonly DesiredRule[]): Pick<PolicyHalf, "stateless" | "stateful"> => ({
  stateless: rules.some((rule) => rule.stateless),
  stateful: rules.some((rule) => !rule.stateless),
});

/**
 * Expands a policy; rule numbers are asked for in order. `former`: an image of it whose classes have the same numbers now; what a few rules
 * less or more make of it is the same as a whole expansion.
 */
export function policyImage(policy: CompiledPolicy, numbering: Numbering, former?: PolicyImage): PolicyImage {
  if (former !== undefined) {
    const numbers = new Set(former.rules);
    const ingress = amended(former, policy, "ingress", numbering, numbers);
    const egress = ingress && amended(former, policy, "egress", numbering, numbers);
    if (ingress !== undefined && egress !== undefined) return { source: policy, rules: numbers, ingress, egress };
  }
  const rules = new Set<number>();
  const half = (side: Side): PolicyHalf => {
    let separate = true;
    const list = policy[side];
    const open = list.every(isOpenRule);
    const entries = new Map<Bytes, Bytes>();
    const masks: Masks[] = [];
    for (const rule of list) {
      const number = numbering.rule(rule, policy, side);
      rules.add(number);
      if (!open) continue;
      const expansion = expandOpen(rule, side, number, numbering.classes(rule.remote));
      masks.push(expansion.masks);
      separate &&= expansion.entries.length > 0;
      for (const [key, value] of expansion.entries) {
        const present = entries.get(key);
        separate &&= present === undefined;
        if (present === undefined || readU32(present, ORDER) > readU32(value, ORDER)) entries.set(key, value);
      }
    }
    return {
      open,
      entries,
      masks: uniteMasks(masks),
      separate,
      ...memories(list),
    };
  };
  return { source: policy, rules, ingress: half("ingress"), egress: half("egress") };
}
