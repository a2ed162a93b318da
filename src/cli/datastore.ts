/** `datastore dump|load|diff|accept`: between etcd and directories of YAML, and which etcd is the right one. */
import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { compare, plan, type Difference, type PlannedWrite } from "../datastore/transfer/compare.js";
import type { DirectoryContents } from "../datastore/transfer/directory.js";
import { dump } from "../datastore/transfer/dump.js";
import { escape, printable, quote } from "../text.js";
import { CommandError, EXIT, UsageError, type Command, type Invocation } from "./command.js";
import type { DatastoreAccess } from "./datastore-access.js";
import { json } from "./output.js";

const SETTINGS = [
  "etcd-endpoints",
  "etcd-ca",
  "etcd-cert",
  "etcd-key",
  "etcd-username",
  "etcd-password-file",
  "region",
];
const WITH_HOST = [...SETTINGS, "hostname"];

export const datastoreDump: Command = {
  name: "datastore dump",
  summary: "Write what etcd holds as YAML that datastore yaml and datastore load read back.",
  detail: [
    "All that agents read, as of one moment. What YAML cannot say so that it comes back the same is named and left out; the exit status is",
    "then 1. Without --out everything goes to the standard output.",
  ],
  arguments: [],
  flags: [{ name: "out", value: "DIR", doc: "A directory that is made, or holds no YAML yet." }],
  settings: SETTINGS,
  examples: [
    "torbie datastore dump --etcd-endpoints http://127.0.0.1:2379 --out backup",
    "torbie datastore dump --etcd-endpoints http://127.0.0.1:2379 > all.yaml",
  ],
  run: async ({ context, config, flags, json: asJson }) => {
    const access = await context.datastore(config());
    const out = flags.get("out");
    if (out === "") throw new UsageError("torbie datastore dump: --out needs the name of a directory");
    if (asJson && out === undefined) throw new UsageError("torbie datastore dump: --json needs --out");
    const path = out === undefined ? undefined : resolve(out);
    const [present] = path === undefined ? [] : await access.yamlFiles(path);
    if (path !== undefined && present !== undefined)
      throw new CommandError(
        EXIT.refused,
        "NOT_EMPTY",
        `${quote(path)} holds YAML already (${escape(present)}): give an empty or a new directory`,
      );
    const { files, keys, left } = dump(await access.readEtcd());
    for (const { key, why } of left) context.err(`left out: ${escape(key)}: ${printable(why)}\n`);
    if (path === undefined) context.out([...files.values()].join("---\n"));
    else {
      await access.writeFiles(path, files);
      const said = `${keys} keys in ${files.size} files in ${escape(path)}${left.length > 0 ? `; ${left.length} left out` : ""}\n`;
      context.out(asJson ? json({ keys, files: [...files.keys()], left }) : said);
    }
    return left.length > 0 ? EXIT.failed : EXIT.ok;
  },
};

export const datastoreDiff: Command = {
  name: "datastore diff",
  summary: "Name every difference between a directory of YAML and etcd.",
  detail: ["Exit status 0: they say the same; 1: they differ."],
  arguments: ["DIR"],
  flags: [],
  settings: WITH_HOST,
  examples: ["torbie datastore diff ./policy --etcd-endpoints http://127.0.0.1:2379"],
  run: async (invocation) => {
    const { context } = invocation;
    const { differences } = await differencesOf(invocation);
    if (invocation.json) context.out(json({ differences: differences.map((difference) => shapeOf(difference)) }));
    else context.out(differences.length === 0 ? "They say the same.\n" : differences.map(lineOf).join(""));
    return differences.length === 0 ? EXIT.ok : EXIT.failed;
  },
};

export const datastoreLoad: Command = {
  name: "datastore load",
  summary: "Make etcd hold what a directory of YAML says.",
  detail: [
    "Writes only keys that differ, each only if nobody else changed it meanwhile (exit status 1 then). What only etcd has stays, unless",
    "--prune is given; its ClusterInformation always stays.",
  ],
  arguments: ["DIR"],
  flags: [
    { name: "dry-run", doc: "Only print what would be written." },
    { name: "prune", doc: "Delete what only etcd has." },
  ],
  settings: WITH_HOST,
  examples: [
    "torbie datastore load ./policy --etcd-endpoints http://127.0.0.1:2379 --dry-run",
    "torbie datastore load ./policy --etcd-endpoints http://127.0.0.1:2379 --prune",
  ],
  run: async (invocation) => {
    const { context, flags, json: asJson } = invocation;
    const { access, differences } = await differencesOf(invocation);
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const { writes, kept } = plan(differences, flags.has("prune"), { fresh: randomUUID, now });
    const dry = flags.has("dry-run");
    const lost = dry ? [] : await access.write(writes);
    const verb = ({ value, modRevision }: PlannedWrite): string =>
      value === undefined ? "delete" : modRevision === "0" ? "create" : "update";
    if (asJson)
      context.out(
        json({
          dryRun: dry,
          writes: writes.map((write) => ({
            key: write.key,
            what: verb(write),
            origin: write.origin,
            done: !dry && !lost.includes(write),
          })),
          kept,
        }),
      );
    else {
      for (const write of writes)
        context.out(
          `${dry ? "would " : ""}${verb(write)} ${escape(write.key)}${write.value === undefined ? "" : ` (${escape(write.origin)})`}\n`,
        );
      const summary =
        writes.length === 0
          ? "Nothing to write"
          : `${writes.length - lost.length} keys ${dry ? "to write" : "written"}`;
      const stay =
        kept.length === 0
          ? ""
          : `; ${kept.length} only in etcd stay${flags.has("prune") ? "" : " (--prune deletes them)"}`;
      context.out(`${summary}${stay}.\n`);
    }
    for (const { key } of lost)
      context.err(`not written: ${escape(key)}: somebody else changed it meanwhile; run it again\n`);
    return lost.length === 0 ? EXIT.ok : EXIT.failed;
  },
};

export const datastoreAccept: Command = {
  name: "datastore accept",
  summary: "Let this host's agent follow the etcd that is there now, although it is another or an older one.",
  detail: [
    "An agent that finds another clusterGUID, or an older state than it had applied, changes nothing until this is said; a running one",
    "goes on within seconds. Look at torbie status first: what is in that etcd will be enforced.",
  ],
  arguments: [],
  flags: [],
  settings: [...SETTINGS, "state-dir"],
  examples: ["torbie datastore accept --etcd-endpoints http://127.0.0.1:2379"],
  run: async ({ context, config, json: asJson }) => {
    const access = await context.datastore(config());
    const { clusterId, revision, cluster, fault } = await access.found();
    if (cluster === undefined || fault !== undefined)
      throw new CommandError(
        EXIT.refused,
        "CLUSTER_UNKNOWN",
        `this etcd holds no ClusterInformation that can be read${fault === undefined ? "" : ` (${printable(fault)})`}: there is nothing to accept`,
      );
    const former = await access.identity.read();
    const { guid } = cluster;
    const at = new Date().toISOString();
    await access.identity.write({ ...(guid !== undefined && { guid }), clusterId, revision, at });
    const before =
      former === undefined
        ? "none"
        : former === "unreadable"
          ? "a file that could not be read"
          : `cluster ${quote(former.guid ?? "without a GUID")} at revision ${former.revision}`;
    const now = `cluster ${quote(guid ?? "without a GUID")} at revision ${revision}`;
    context.out(
      asJson
        ? json({ accepted: { guid: guid ?? null, clusterId, revision: String(revision) }, file: access.identity.path })
        : `accepted: ${now} (before: ${before}), in ${escape(access.identity.path)}\n${cluster.ready ? "" : "Its datastoreReady is not true: nothing is applied before it is.\n"}`,
    );
    return EXIT.ok;
  },
};

async function differencesOf({
  context,
  config,
  positionals,
}: Invocation): Promise<{ readonly access: DatastoreAccess; readonly differences: readonly Difference[] }> {
  const access = await context.datastore(config());
  const path = resolve(positionals[0] ?? "");
  let directory: DirectoryContents;
  try {
    directory = await access.readDirectory(path);
  } catch (error) {
    throw new CommandError(EXIT.absent, "NO_DIRECTORY", `${quote(path)} cannot be read: ${String(error)}`, error);
  }
  if (directory.problems.length > 0)
    throw new CommandError(
      EXIT.usage,
      "BAD_YAML",
      directory.problems.map(({ where, what }) => `${printable(where)}: ${printable(what)}`).join("\n"),
    );
  return { access, differences: compare(directory.resources, await access.readEtcd()) };
}

function lineOf(difference: Difference): string {
  const key = escape(difference.key);
  if (difference.kind === "only in etcd") return `only in etcd: ${key}\n`;
  const origin = escape(difference.resource.origin);
  if (difference.kind === "only in the directory") return `only in the directory: ${key} (${origin})\n`;
  return `different: ${key} (${origin}): ${difference.paths.map((path) => escape(path)).join(", ")}\n`;
}

function shapeOf(difference: Difference): object {
  const { kind, key } = difference;
  return {
    key,
    difference: kind,
    ...(kind !== "only in etcd" && { origin: difference.resource.origin }),
    ...(kind === "different" && { paths: difference.paths }),
  };
}
