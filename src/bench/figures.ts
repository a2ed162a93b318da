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

function judged(name: string, vs: string, ratios: readonly number[]): Figure {
  const unit = "ratio";
  if (!(spread(ratios) < TOO_WIDE)) {
    const why = `rounds differ too much: ${ratios.map((one) => one.toFixed(2)).join(" ")}`;
    return { name, value: null, unit, vs, why };
  }
  return { name, value: Math.round(median(ratios) * 100) / 100, unit, vs };
}

const unmeasured = (name: string, vs: string, what: string): Figure => ({
  name,
  value: null,
  unit: "ratio",
  vs,
  why: `${what} was not measured`,
});

/**
 * Median of the rounds' own ratios, both sides net of the floor of their round: what disturbs the machine for a while
 * disturbs both.
 * @param floor "" where there is nothing to subtract
 */
export function ratio(samples: Samples, name: string, ours: string, theirs: string, floor = "floor"): Figure {
  const [a, b] = [samples[ours], samples[theirs]];
  const under = floor === "" ? a?.map(() => 0) : samples[floor];
  if (!a?.length || !b?.length) return unmeasured(name, theirs, !a?.length ? ours : theirs);
  if (!under?.length) return unmeasured(name, theirs, floor);
  const ratios = a.map((value, i) => (value - (under[i] ?? NaN)) / ((b[i] ?? NaN) - (under[i] ?? NaN)));
  return judged(name, theirs, ratios);
}

/** Operations per second, ours to theirs, from nanoseconds an operation. */
export function rate(samples: Samples, name: string, ours: string, theirs: string): Figure {
  const [a, b] = [samples[ours], samples[theirs]];
  if (!a?.length || !b?.length) return unmeasured(name, theirs, !a?.length ? ours : theirs);
  const ratios = a.map((value, i) => (b[i] ?? NaN) / value);
  return judged(name, theirs, ratios);
}

/** b of y = a * x^b, by least squares on logarithms: 0 is flat, 1 grows as x does. NaN with fewer than two sizes. */
export function exponent(points: readonly { readonly x: number; readonly y: number }[]): number {
  const logs = points.filter(({ x, y }) => x > 0 && y > 0).map(({ x, y }) => [Math.log(x), Math.log(y)] as const);
  const mean = (of: 0 | 1): number => logs.reduce((sum, pair) => sum + pair[of], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const over = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  const under = logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  return under === 0 ? NaN : over / under;
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

/** How something grows with the size of something else. */
export interface Curve {
  readonly name: string;
  /** What is measured, as a plot's title, and its unit. */
  readonly what: string;
  readonly unit: string;
  /** Whose. */
  readonly judge: string;
  /** What grows: "rules", "members", "taps" and so on. */
  readonly grows: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export function exponentOf({ name, grows, points }: Curve): Figure {
  const [of, unit] = [`${name}_exponent`, "exponent"];
  const vs = `${grows} of ${points.map(({ x }) => x).join(", ")}`;
  const value = Math.round(exponent(points) * 1000) / 1000;
  return Number.isFinite(value)
    ? { name: of, value, unit, vs }
    : { name: of, value: null, unit, vs, why: "too few sizes cost more than nothing" };
}

/** A measured number, or why there is none. */
export function plain(name: string, value: number | undefined, unit: string, vs: string, why?: string): Figure {
  if (value === undefined || !Number.isFinite(value))
    return { name, value: null, unit, vs, why: why ?? "not measured" };
  return { name, value: Math.round(value * 100) / 100, unit, vs };
}
