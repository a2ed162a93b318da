/** Doubling waits with jitter, so that a thousand hosts that lost one etcd do not come back at the same moment. Pure but for chance. */
export class Backoff {
  private failures = 0;

  /** @param first @param most milliseconds @param chance in [0, 1) */
  constructor(
    private readonly first: number,
    private readonly most: number,
    private readonly chance: () => number = Math.random,
  ) {}

  /** Milliseconds to wait after one more failure: between half and all of the doubled wait. */
  next(): number {
    const wait = Math.min(this.most, this.first * 2 ** Math.min(this.failures++, 30));
    return wait * (0.5 + this.chance() / 2);
  }

  reset(): void {
    this.failures = 0;
  }
}
