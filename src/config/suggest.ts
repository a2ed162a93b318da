/** "Did you mean": the nearest of the known names. Pure. */

/** Edits (insert, delete, replace, swap of neighbours) between two short words. */
export function distance(a: string, b: string): number {
  const rows: number[][] = [];
  for (let i = 0; i <= a.length; i++) {
    const row: number[] = [];
    for (let j = 0; j <= b.length; j++) {
      const at = (di: number, dj: number): number => (di === 0 ? row[j - dj] : rows[i - di]?.[j - dj]) ?? 0;
      if (i === 0 || j === 0) {
        row.push(i + j);
        continue;
      }
      let best = Math.min(at(1, 0) + 1, at(0, 1) + 1, at(1, 1) + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(2, 2) + 1);
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

/** Up to `count` known names that `word` may have meant: those that contain it or differ by at most a third of its letters. */
export function suggest(word: string, known: Iterable<string>, count = 1): readonly string[] {
  const wanted = word.slice(0, 64).toLowerCase();
  if (wanted === "") return [];
  const ranked: { name: string; score: number }[] = [];
  for (const name of known) {
    const lower = name.toLowerCase();
    const score = lower.startsWith(wanted)
      ? 0.5
      : wanted.length >= 3 && lower.includes(wanted)
        ? 0.8
        : distance(wanted, lower.slice(0, 64));
    if (score <= Math.max(1, Math.floor(wanted.length / 3))) ranked.push({ name, score });
  }
  ranked.sort((a, b) => a.score - b.score || (a.name < b.name ? -1 : 1));
  return ranked.slice(0, count).map((entry) => entry.name);
}
