/** All of etcd that concerns us at one moment, and writing single keys of it: for commands, which connect, work and end. */
import type { EtcdSettings } from "../../config/etcd.js";
import { TorbieError } from "../../errors.js";
import { watchedPrefixes } from "../../model/keys.js";
import { readCredentials } from "../etcd-credentials.js";
import { describeEtcdError } from "../etcd-errors.js";
import { clusterOf, type Found } from "../etcd-identity.js";
import { CLUSTER_KEY, rangeOf } from "../etcd-keys.js";
import { EtcdSession } from "../etcd-session.js";
import { readRange } from "../etcd-snapshot.js";
import type { EtcdEntry, PlannedWrite } from "./compare.js";

/** No member of etcd answered, or none let us in. */
export class EtcdError extends TorbieError {}

export class EtcdStore {
  private constructor(
    private readonly session: EtcdSession,
    private readonly settings: EtcdSettings,
  ) {}

  /**
   * With the first member that answers.
   * @throws ConfigError for a file of credentials, EtcdError saying what each member had against it
   */
  static async use<T>(settings: EtcdSettings, work: (store: EtcdStore) => Promise<T>): Promise<T> {
    const known = await readCredentials(settings);
    const reasons: string[] = [];
    for (const endpoint of settings.endpoints) {
      let session: EtcdSession | undefined;
      const store = async (): Promise<EtcdStore> => {
        session = await EtcdSession.open(endpoint, known);
        await session.kv.range({ key: Buffer.from(CLUSTER_KEY), keys_only: true });
        return new EtcdStore(session, settings);
      };
      try {
        const opened = await store().catch((error: unknown) => {
          reasons.push(describeEtcdError(error, endpoint, settings.login?.username));
        });
        if (opened === undefined) continue;
        return await work(opened).catch((error: unknown) => {
          if (error instanceof TorbieError) throw error;
          const why = describeEtcdError(error, endpoint, settings.login?.username);
          throw new EtcdError("ETCD_FAILED", why, { cause: error, retryable: true });
        });
      } finally {
        session?.close();
      }
    }
    throw new EtcdError("ETCD_UNREACHABLE", reasons.join("\n"), { retryable: true });
  }

  async found(): Promise<Found> {
    const { header, kvs } = await this.session.kv.range({ key: Buffer.from(CLUSTER_KEY) });
    const cluster = clusterOf(kvs[0]?.value.toString("utf8"));
    return { clusterId: header.cluster_id, revision: BigInt(header.revision), ...cluster };
  }

  /** Every key that an agent would read, in key order, as of one revision. */
  async readAll(): Promise<ReadonlyMap<string, EtcdEntry>> {
    const { revision } = await this.found();
    const entries = new Map<string, EtcdEntry>();
    for (const prefix of watchedPrefixes(this.settings.region))
      for await (const page of readRange(this.session, rangeOf(prefix), String(revision)))
        for (const { key, value, mod_revision } of page)
          entries.set(key.toString("utf8"), { text: value.toString("utf8"), modRevision: mod_revision });
    return entries;
  }

  /** False: somebody else changed the key since it was read, and nothing was done. */
  async write({ key, modRevision, value }: PlannedWrite): Promise<boolean> {
    const name = Buffer.from(key);
    const { succeeded } = await this.session.kv.txn({
      compare: [{ key: name, target: "Mod", result: "Equal", mod_revision: modRevision }],
      success: [
        value === undefined
          ? { request_delete_range: { key: name } }
          : { request_put: { key: name, value: Buffer.from(value) } },
      ],
      failure: [],
    });
    return succeeded;
  }
}
