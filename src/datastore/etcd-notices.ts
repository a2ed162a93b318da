/** What an operator should know of an etcd that works: alarms, and policies of kinds that nobody here enforces. */
import { isReadOrSilent } from "../model/keys.js";
import type { Problem } from "../problems.js";
import { escape, quote } from "../text.js";
import { rangeOf } from "./etcd-keys.js";
import type { EtcdSession } from "./etcd-session.js";

const RESOURCES = "/calico/resources/v3/";
/** Kinds that are looked for; more of them than Calico has are somebody's test. */
const MOST_KINDS = 60;

/** @throws etcd3's errors */
export async function alarms(session: EtcdSession): Promise<readonly Problem[]> {
  const { errors } = (await session.maintenance.status()) as unknown as { readonly errors?: readonly string[] };
  return (errors ?? []).map((alarm) => ({
    where: escape(session.endpoint),
    code: alarm.includes("NOSPACE") ? "ETCD_FULL" : "ETCD_ALARM",
    what: `etcd raises an alarm: ${quote(alarm)}`,
    consequence: alarm.includes("NOSPACE")
      ? "nobody can change anything in it until it is compacted, defragmented and the alarm disarmed; what it holds is enforced"
      : "what it holds is enforced",
  }));
}

/**
 * Kinds of v3 resources beside those that are read and those that concern no host. One key of each is asked for, however many there are.
 * @throws etcd3's errors
 */
export async function foreignKinds(session: EtcdSession): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const { end } = rangeOf(RESOURCES);
  let { start } = rangeOf(RESOURCES);
  for (let looked = 0; looked < MOST_KINDS; looked++) {
    const { kvs } = await session.kv.range({ key: start, range_end: end, limit: 1, keys_only: true });
    const key = kvs[0]?.key.toString("utf8");
    if (key === undefined) break;
    const [group = "", plural = ""] = key.slice(RESOURCES.length).split("/");
    if (!isReadOrSilent(group, plural)) problems.push(foreign(group, plural));
    const next = rangeOf(`${RESOURCES}${group}/${plural}/`).end;
    // A key that is no UTF-8 is not where its text would be.
    if (next.compare(start) <= 0) break;
    start = next;
  }
  return problems;
}

function foreign(group: string, plural: string): Problem {
  return {
    where: escape(`${RESOURCES}${group}/${plural}/`),
    code: "NOT_SUPPORTED",
    what: `etcd holds resources of the kind ${quote(plural)}, which Torbie does not know`,
    consequence: "nothing of them is enforced",
  };
}
