/** What draws the plots: runs in the reader's browser, so it may use nothing of this module but itself. */

interface Element {
  textContent: string | null;
  className: string;
  append(child: Element): void;
}

/** Of the DOM, what is needed. */
export interface Page {
  getElementById(id: string): Element | null;
  createElement(tag: string): Element;
}

interface Options {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly scales: Readonly<Record<string, { readonly distr?: number; readonly time?: boolean }>>;
  readonly axes: readonly { readonly label: string }[];
  readonly series: readonly { readonly label: string; readonly stroke?: string; readonly spanGaps?: boolean }[];
}

/** uPlot's constructor. */
export type Plot = new (options: Options, data: readonly (readonly (number | null)[])[], into: Element) => object;

interface Shown {
  readonly samples: Readonly<Record<string, readonly number[]>>;
  readonly curves: readonly {
    readonly what: string;
    readonly unit: string;
    readonly judge: string;
    readonly grows: string;
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
}

export function drawPlots(page: Page, UPlot: Plot): void {
  const colours = ["#0b6e4f", "#c1121f", "#f2a104", "#3a5a9b", "#8338ec", "#444444", "#00a6a6", "#b56576"];
  const { samples, curves } = JSON.parse(page.getElementById("report")?.textContent ?? "{}") as Shown;
  const plots = page.getElementById("plots");
  const draw = (
    title: string,
    [label, unit]: readonly [string, string],
    logarithmic: boolean,
    xs: readonly number[],
    lines: readonly { readonly name: string; readonly ys: readonly (number | null)[] }[],
  ): void => {
    const into = page.createElement("div");
    into.className = "plot";
    plots?.append(into);
    const distr = logarithmic ? { distr: 3 } : {};
    const series = lines.map(({ name }, i) => ({
      label: name,
      stroke: colours[i % colours.length] ?? "#000000",
      spanGaps: true,
    }));
    new UPlot(
      {
        title,
        width: 960,
        height: 380,
        scales: { x: { time: false, ...distr }, y: { distr: 3 } },
        axes: [{ label }, { label: unit }],
        series: [{ label }, ...series],
      },
      [xs, ...lines.map(({ ys }) => ys)],
      into,
    );
  };
  const title = ({ what, grows }: Shown["curves"][number]): string => `${what}, against ${grows}`;
  for (const name of new Set(curves.map(title))) {
    const mine = curves.filter((one) => title(one) === name);
    const labels = [mine[0]?.grows ?? "", mine[0]?.unit ?? ""] as const;
    const xs = [...new Set(mine.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);
    // A cost below the floor has no logarithm.
    const at = (points: readonly { x: number; y: number }[], x: number): number | null =>
      points.find((point) => point.x === x && point.y > 0)?.y ?? null;
    const lines = mine.map(({ judge, points }) => ({ name: judge, ys: xs.map((x) => at(points, x)) }));
    if (lines.length > 0) draw(name, labels, true, xs, lines);
  }
  const rounds = Math.max(0, ...Object.values(samples).map(({ length }) => length));
  const xs = Array.from({ length: rounds }, (_, i) => i + 1);
  const kinds = [
    ["Established packet", /established|limit$|floor$|forwarding|two_rules/],
    ["First packet", /first|insert/],
  ] as const;
  for (const [title, pattern] of kinds) {
    const lines = Object.entries(samples)
      .filter(([name]) => pattern.test(name) && !(title === "Established packet" && /insert/.test(name)))
      .map(([name, values]) => ({ name, ys: xs.map((x) => values[x - 1] ?? null) }));
    if (lines.length > 0) draw(`${title}, round by round, floor included`, ["round", "ns a packet"], false, xs, lines);
  }
}
