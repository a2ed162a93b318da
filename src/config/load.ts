/** Merges the sources of settings, flags > environment > file > default, into one frozen result that remembers each value's source. */
import { ConfigError } from "../errors.js";
import { quote } from "../text.js";
import { readConfigText, type FileEntry } from "./file.js";
import { environmentKey, fileKey, row, SETTING_KEYS, type Config, type SettingKey } from "./schema.js";
import { suggest } from "./suggest.js";

export interface Source {
  readonly from: "default" | "file" | "environment" | "flag";
  /** "/etc/torbie/torbie.yaml:3", "TORBIE_FLOWS", "--flows"; empty for defaults. */
  readonly where: string;
}
export interface LoadedConfig {
  readonly config: Config;
  readonly sources: Readonly<Record<SettingKey, Source>>;
  /** The file that was read, if any. */
  readonly file?: string;
}
export interface ConfigInputs {
  /** By key as the file spells it ("pin-dir"); from the command line. */
  readonly flags: ReadonlyMap<string, string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file?: { readonly path: string; readonly text: string };
}

/** TORBIE_ names that are no settings. */
export const OTHER_ENVIRONMENT: readonly string[] = ["TORBIE_CONFIG"];

const didYouMean = (names: readonly string[]): string => (names[0] === undefined ? "" : `; did you mean ${names[0]}?`);

function unknown(where: string, name: string, known: readonly string[], help: string): ConfigError {
  return new ConfigError(
    "UNKNOWN_SETTING",
    `${where}: unknown setting ${quote(name, 80)}${didYouMean(suggest(name, known))} (${help})`,
  );
}

/**
 * Reads every source and checks every value, also those that a stronger source overrides.
 * @throws ConfigError naming the flag, variable or file:line:column, the value, and what is expected
 */
export function loadConfig(inputs: ConfigInputs): LoadedConfig {
  const byFileKey = new Map(SETTING_KEYS.map((key) => [fileKey(key), key]));
  const names = [...byFileKey.keys()];
  const values: Partial<Record<SettingKey, unknown>> = {};
  const sources: Partial<Record<SettingKey, Source>> = {};
  const take = (key: SettingKey, source: Source, read: () => unknown): void => {
    try {
      values[key] = read();
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      throw new ConfigError("BAD_SETTING", `${source.where}: ${fileKey(key)}: ${what}`, { cause: error });
    }
    sources[key] = Object.freeze(source);
  };

  for (const key of SETTING_KEYS) {
    const { fallback } = row(key);
    take(key, { from: "default", where: "" }, () =>
      typeof fallback === "function" ? (fallback as () => unknown)() : fallback,
    );
  }
  const entries: readonly FileEntry[] = inputs.file ? readConfigText(inputs.file.path, inputs.file.text) : [];
  for (const entry of entries) {
    const key = byFileKey.get(entry.name);
    if (key === undefined) throw unknown(entry.where, entry.name, names, "torbie config show lists all");
    take(key, { from: "file", where: entry.where }, () => row(key).kind.fromYaml(entry.value));
  }
  const variables = new Map(SETTING_KEYS.map((key) => [environmentKey(key), key]));
  for (const [name, value] of Object.entries(inputs.environment)) {
    if (!name.startsWith("TORBIE_") || value === undefined || OTHER_ENVIRONMENT.includes(name)) continue;
    const key = variables.get(name);
    if (key === undefined) throw unknown("environment", name, [...variables.keys(), ...OTHER_ENVIRONMENT], "unset it");
    take(key, { from: "environment", where: name }, () => row(key).kind.parse(value));
  }
  for (const [name, value] of inputs.flags) {
    const key = byFileKey.get(name);
    if (key === undefined)
      throw unknown(
        "command line",
        `--${name}`,
        names.map((known) => `--${known}`),
        "see --help",
      );
    take(key, { from: "flag", where: `--${name}` }, () => row(key).kind.parse(value));
  }
  const config = Object.freeze(values) as Config;
  checkTogether(config, sources as Record<SettingKey, Source>);
  return Object.freeze({
    config,
    sources: Object.freeze(sources as Record<SettingKey, Source>),
    ...(inputs.file ? { file: inputs.file.path } : {}),
  });
}

/** What no single value can say. */
function checkTogether(config: Config, sources: Readonly<Record<SettingKey, Source>>): void {
  const at = (key: SettingKey): string => sources[key].where || `default of ${fileKey(key)}`;
  if (config.uplinks.includes("auto") && config.uplinks.length > 1)
    throw new ConfigError(
      "BAD_SETTING",
      `${at("uplinks")}: uplinks: "auto" stands alone; name the interfaces or say auto`,
    );
  for (const name of config.uplinks)
    if (
      name !== "auto" &&
      config.interfacePrefix.some((prefix) => name.startsWith(prefix)) &&
      !config.interfaceExclude.some((excluded) =>
        excluded.endsWith("*") ? name.startsWith(excluded.slice(0, -1)) : name === excluded,
      )
    )
      throw new ConfigError(
        "BAD_SETTING",
        `${at("uplinks")}: uplinks: ${quote(name)} is a guest's interface by interface-prefix; list it in interface-exclude or take it out`,
      );
  if (config.statusTtl <= config.statusInterval)
    throw new ConfigError(
      "BAD_SETTING",
      `${at("statusTtl")}: status-ttl: ${config.statusTtl}s is not longer than status-interval (${config.statusInterval}s): the host would seem dead in between`,
    );
  if (config.pinDir === config.runDir)
    throw new ConfigError("BAD_SETTING", `${at("runDir")}: run-dir: must not be the pin-dir`);
}
