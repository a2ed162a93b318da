/** Composes the agent from its real parts and runs it until a signal: what `torbie agent` does. */
import type { LoadedConfig } from "../config/load.js";
import { checkDatastore, etcdSettings } from "../config/etcd.js";
import { fileKey, SETTING_KEYS } from "../config/schema.js";
import { createLog } from "../telemetry/log.js";
import { AgentLock } from "./lock.js";
import { Memory } from "./memory.js";
import { composeAgent } from "./compose.js";
import { EarlyDatastore } from "./early.js";
import { QuietWriter } from "./quiet-writer.js";
import { writeStatus } from "./status.js";
import { openBackend } from "./wire/backend.js";
import { CompilerAdapter, ModelAdapter } from "./wire/pure.js";

/**
 * Resolves with the exit status after SIGTERM or SIGINT; what is enforced stays enforced.
 * @throws ConfigError, UnsupportedError (no BPF), DataplaneError (another agent runs, the kernel refuses)
 */
export async function runAgent(loaded: LoadedConfig, version: string): Promise<number> {
  const { config, sources } = loaded;
  const log = createLog(config.logLevel, config.logFormat);
  // A promise that nobody awaits or an exception in a callback is a fault of ours: say where, end, and leave enforcement as it is.
  const fatal = (err: unknown): void => {
    log.fatal({ err }, "a fault of ours; what is enforced stays enforced");
    process.exit(1);
  };
  process.on("uncaughtException", fatal);
  process.on("unhandledRejection", fatal);
  process.on("SIGHUP", () => log.info({}, "SIGHUP: nothing to do, the policy directory is followed live"));
  const signal = new Promise<string>((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  });

  const lock = new AgentLock(config.runDir, config.pinDir);
  let early: EarlyDatastore | undefined;
  try {
    const said = SETTING_KEYS.filter((key) => sources[key].from !== "default").map((key) => [
      fileKey(key),
      config[key],
    ]);
    // First, as settings may contradict each other: then nothing is loaded, and no program of the firewall waits.
    checkDatastore(loaded);
    if (config.datastore === "etcd") etcdSettings(loaded);
    const opening = openBackend(config, log);
    opening.catch(() => undefined); // said where it is awaited
    // While the kernel verifies the programs: what speaks to etcd takes a third of a second to be read, and what it says as long.
    const [{ openDatastore }, { Companions }] = await Promise.all([
      import("./wire/datastore.js"),
      import("./companions.js"),
    ]);
    const datastore = (early = new EarlyDatastore(
      openDatastore(loaded),
      new ModelAdapter(config.hostname),
      new CompilerAdapter(),
    ));
    const opened = await opening;
    const { backend, adopted, why } = opened;
    lock.holdPins();
    const companions = new Companions(loaded, { version, backend, adopted, log });
    const writer = new QuietWriter((err) => log.warn({ err }, "the status file cannot be written"));
    const memory = new Memory();
    const agent = composeAgent(loaded, version, opened, {
      datastore,
      model: datastore.model,
      compiler: datastore.compiler,
      log,
      onStatus: (status) => {
        writer.put(() => {
          memory.tidy();
          writeStatus(config.runDir, status());
        });
        companions.tell();
      },
      onPass: (pass) => companions.onPass(pass),
      problems: () => companions.problems(),
    });
    companions.follow(agent);
    log.info(
      { version, pid: process.pid, dataplane: backend.name, why, settings: Object.fromEntries(said) as object },
      "starting",
    );
    // A start that fails ends what it had begun: a watcher or a server that went on would keep the process from ending.
    try {
      const name = await Promise.race([signal, agent.start().then(() => undefined)]);
      if (name === undefined) companions.started();
      log.info({ signal: name ?? (await signal) }, "stopping; what is enforced stays enforced");
    } finally {
      companions.stopping();
      await agent.stop();
      writer.flush();
      await companions.close();
    }
    return 0;
  } finally {
    await early?.stop();
    lock.release();
  }
}
