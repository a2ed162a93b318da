/** The demo's own view of the directory: the same reader and model as the agent's. */
import type { Datastore } from "../datastore/types.js";
import { YamlDirectory } from "../datastore/yaml-directory.js";
import { ConfigError } from "../errors.js";
import { ModelStore } from "../model/store.js";
import type { Model } from "../model/types.js";
import type { Problem } from "../problems.js";

export class PolicyReader {
  private readonly waiting = new Set<() => void>();
  private lastNews = 0;

  private constructor(
    private readonly datastore: Datastore,
    private readonly store: ModelStore,
  ) {}

  /**
   * Resolves when the directory has been read once; follows it from then on.
   * @throws ConfigError when it cannot be read in full: the agent would wait for that too
   */
  static async open(path: string, hostname: string): Promise<PolicyReader> {
    const datastore = new YamlDirectory({ path, hostname });
    const store = new ModelStore(hostname);
    const reader = new PolicyReader(datastore, store);
    try {
      await new Promise<void>((resolve, reject) => {
        const check = (): void => {
          if (store.inSync) return resolve();
          const problems = store.problems().map(({ where, what }) => `${where}: ${what}`);
          if (problems.length > 0) reject(new ConfigError("UNREADABLE_POLICY", problems.join("\n")));
        };
        datastore
          .start((event) => {
            store.apply(event);
            setImmediate(check); // problems are told before the rest of the same reading
            reader.onNews();
          })
          .catch(reject);
      });
    } catch (error) {
      await datastore.stop();
      throw error;
    }
    return reader;
  }

  /** Live. */
  get model(): Model {
    return this.store.model;
  }

  get problems(): readonly Problem[] {
    return this.store.problems();
  }

  private onNews(): void {
    this.lastNews = performance.now();
    for (const done of [...this.waiting]) done();
  }

  /**
   * Resolves when this reader, too, has read what another one of the same directory has just told of: at once if it had news lately,
   * else with its next, and after `patience` milliseconds in any case.
   */
  caughtUp(patience = 500): Promise<void> {
    if (performance.now() - this.lastNews < patience) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, patience);
      this.waiting.add(done);
    });
  }

  close(): Promise<void> {
    return this.datastore.stop();
  }
}
