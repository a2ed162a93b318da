/** From nanoseconds to ratios: medians of interleaved rounds, net of the floor. Pure. */

export interface Figure {
  readonly name: string;
  /** null: see `why`. */
  readonly value: number | null;
  readonly unit: string;
  /** What it is compared with. */
  readonly vs: string;
  readonly why?: string;
}

export type Samples = Readonly<Record<string, readonly number[]>>;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = NaN, high = NaN] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[middle]];
  return (low + high) / 2;
}

/** Half of the middle half, as a part of the median: how far rounds lie apart. */
export function spread(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.round(part * (sorted.length - 1))] ?? NaN;
  return (at(0.75) - at(0.25)) / 2 / median(values);
}

/** Spread beyond which a figure means nothing. */
const TOO_WIDE = 0.35;

/**
 * Median of the rounds' own ratios, both sides net of the floor of their round: what disturbs the machine for a while
 * disturbs both.
 */
export function ratio(samples: Samples, name: string, ours: string, theirs: string): Figure {
  const [a, b, floor] = [samples[ours], samples[theirs], samples["floor"]];
  if (!a?.length || !b?.length || !floor?.length)
    return { name, value: null, unit: "ratio", vs: theirs, why: `${!a?.length ? ours : theirs} was not measured` };
  const ratios = a.map((value, i) => (value - (floor[i] ?? NaN)) / ((b[i] ?? NaN) - (floor[i] ?? NaN)));
  const value = Math.round(median(ratios) * 100) / 100;
  if (!(spread(ratios) < TOO_WIDE))
    return {
      name,
      value: null,
      unit: "ratio",
      vs: theirs,
      why: `rounds differ too much: ${ratios.map((one) => one.toFixed(2)).join(" ")}`,
    };
  return { name, value, unit: "ratio", vs: theirs };
}

/** The value that a part (0..1) of the samples does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? NaN;
}

export function milliseconds(name: string, part: number, values: readonly number[] | undefined, why?: string): Figure {
  const vs = "acknowledgement of the etcd write";
  if (values === undefined || values.length === 0)
    return { name, value: null, unit: "ms", vs, why: why ?? "nothing was measured" };
  return { name, value: Math.round(quantile(values, part) * 100) / 100, unit: "ms", vs };
}
