import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { configurationMarkdown } from "../../../src/config/docs.js";
import { loadConfig, type ConfigInputs } from "../../../src/config/load.js";
import { environmentKey, fileKey, row, SETTING_KEYS } from "../../../src/config/schema.js";
import { distance, suggest } from "../../../src/config/suggest.js";
import { DEFAULT_TIMEOUTS } from "../../../src/dataplane/bpf/images-control.js";
import { flowTimeouts } from "../../../src/agent/wire/timeouts.js";
import { ROUTE_PROTOCOL } from "../../../src/links/links.js";
import { ConfigError } from "../../../src/errors.js";

const load = (inputs: { flags?: Record<string, string>; env?: Record<string, string>; text?: string }) =>
  loadConfig({
    flags: new Map(Object.entries(inputs.flags ?? {})),
    environment: inputs.env ?? {},
    ...(inputs.text === undefined ? {} : { file: { path: "/etc/torbie/torbie.yaml", text: inputs.text } }),
  } satisfies ConfigInputs);

/** The message of the ConfigError that `run` throws. */
function complaint(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

describe("the table", () => {
  test.each(SETTING_KEYS)("%s: its default and its example pass its own check, and print back to themselves", (key) => {
    const { kind, fallback, doc, example } = row(key);
    const value = typeof fallback === "function" ? (fallback as () => unknown)() : fallback;
    expect(kind.parse(kind.format(value))).toEqual(value);
    const parsed = kind.parse(example);
    expect(kind.parse(kind.format(parsed))).toEqual(parsed);
    expect(kind.fromYaml(kind.format(parsed))).toEqual(parsed);
    expect(doc).toMatch(/^[A-Z"a-z].{10,}[.]$/);
  });

  test("every state of a flow has its timeout, with the dataplane's default", () => {
    const { config } = load({});
    expect(flowTimeouts(config)).toEqual(DEFAULT_TIMEOUTS);
  });

  test("docs/configuration.md names every setting and is up to date", () => {
    for (const key of SETTING_KEYS)
      expect(configurationMarkdown()).toContain(`| \`${fileKey(key)}\` | \`${environmentKey(key)}\` |`);
    expect(readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8")).toBe(
      configurationMarkdown(),
    );
  });
});

describe("precedence", () => {
  test("flags win over the environment, which wins over the file, which wins over the default; each value knows where from", () => {
    const text = "flows: 2048\nlog-level: warn\nroute-metric: 7\n";
    const { config, sources } = load({
      text,
      env: { TORBIE_FLOWS: "4096", TORBIE_LOG_LEVEL: "debug" },
      flags: { flows: "8192" },
    });
    expect(config).toMatchObject({ flows: 8192, logLevel: "debug", routeMetric: 7, routeProtocol: ROUTE_PROTOCOL });
    expect(sources.flows).toEqual({ from: "flag", where: "--flows" });
    expect(sources.logLevel).toEqual({ from: "environment", where: "TORBIE_LOG_LEVEL" });
    expect(sources.routeMetric).toEqual({ from: "file", where: "/etc/torbie/torbie.yaml:3:1" });
    expect(sources.routeProtocol).toEqual({ from: "default", where: "" });
  });

  test("the result is frozen, lists too", () => {
    const { config } = load({ flags: { "interface-prefix": "tap,vnet,tap" } });
    expect(config.interfacePrefix).toEqual(["tap", "vnet"]);
    expect(Object.isFrozen(config) && Object.isFrozen(config.interfacePrefix)).toBe(true);
  });

  test("a list and a duration may be written as YAML says them", () => {
    const { config } = load({
      text: "interface-prefix: [tap, vnet]\nresync: 5m\ntimeout-new: 90\nguard: off\nhost-to-guest: false\n",
    });
    expect(config).toMatchObject({
      interfacePrefix: ["tap", "vnet"],
      resync: 300,
      timeoutNew: 90,
      guard: false,
      hostToGuest: false,
    });
  });

  test("a path on the command line may be relative, in the file it may not", () => {
    expect(load({ flags: { "policy-dir": "examples" } }).config.policyDir).toBe(`${process.cwd()}/examples`);
  });

  test("an empty file is no settings", () => {
    expect(load({ text: "# nothing\n" }).config).toEqual(load({}).config);
  });
});

describe("bad input", () => {
  test.each([
    [{ flags: { "pin-dri": "/x" } }, /--pin-dri.*did you mean --pin-dir/],
    [{ env: { TORBIE_PINDIR: "/x" } }, /TORBIE_PINDIR.*did you mean TORBIE_PIN_DIR/],
    [{ text: "flows: 2048\nmark-shfit: 3\n" }, /torbie\.yaml:2:1.*"mark-shfit".*did you mean mark-shift/],
    [{ text: "mark-shift: 17\n" }, /torbie\.yaml:1:1: mark-shift: expected integer 0\.\.16, got "17"/],
    [{ flags: { "mark-shift": "1e1" } }, /--mark-shift: mark-shift: expected integer/],
    [{ env: { TORBIE_FLOWS: "" } }, /TORBIE_FLOWS: flows: expected integer/],
    [{ flags: { datastore: "etcdv3" } }, /Torbie calls it "etcd"/],
    [{ flags: { dataplane: "ebpf" } }, /expected one of auto, bpf, iptables, got "ebpf"/],
    [{ flags: { dataplane: "__proto__" } }, /expected one of auto, bpf/],
    [{ text: "__proto__: {flows: 1}\n" }, /unknown setting "__proto__"/],
    [{ text: "flows: [1, 2]\n" }, /torbie\.yaml:1:1: flows: expected integer 1024\.\.4194304, got/],
    [{ text: "flows: 2048\nflows: 4096\n" }, /torbie\.yaml:2:1: .*unique/i],
    [{ text: "- flows\n" }, /expected "setting: value" lines/],
    [{ text: "flows: {a\n" }, /torbie\.yaml:\d+:\d+: /],
    [{ text: `log-level: &a [${"*a,".repeat(3)}]\n` }, /torbie\.yaml:/],
    [{ text: `hostname: ${"x".repeat(2 << 20)}\n` }, /larger than/],
    [{ flags: { hostname: "a\nb" } }, /hostname: expected text without control characters, got "a\\nb"/],
    [{ flags: { "interface-prefix": "" } }, /at least 1/],
    [{ flags: { "interface-prefix": "tap/../x" } }, /expected at most 14 letters/],
    [{ flags: { "interface-prefix": "tap*" } }, /expected at most 14 letters/],
    [{ flags: { uplinks: "a very long interface name" } }, /expected an interface name/],
    [{ text: "pin-dir: relative\n" }, /expected an absolute path/],
    [{ text: "pin-dir: /a/../b\n" }, /expected an absolute path/],
    [{ flags: { "pin-dir": "" } }, /expected path/],
    [{ flags: { uplinks: "auto,eth0" } }, /"auto" stands alone/],
    [{ flags: { uplinks: "tap7" } }, /"tap7" is a guest's interface/],
    [{ flags: { "timeout-new": "5 minutes" } }, /duration .* such as 90s/],
  ])("%j", (inputs, expected) => {
    expect(complaint(() => load(inputs))).toMatch(expected);
  });

  test("no text, however odd, gets past as anything but a ConfigError or a checked value", () => {
    fc.assert(
      fc.property(fc.constantFrom(...SETTING_KEYS), fc.string({ unit: "binary" }), (key, value) => {
        try {
          const { config } = load({ env: { [environmentKey(key)]: value } });

          expect(JSON.stringify(config[key])).not.toMatch(/\\u00[01]|\\n/);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);

          expect((error as Error).message).not.toMatch(/[\u0000-\u001f]/);
        }
      }),
    );
  });
});

describe("suggestions", () => {
  test("distance counts a swap of neighbours as one edit", () => {
    expect([
      distance("", "abc"),
      distance("abc", "abc"),
      distance("acb", "abc"),
      distance("abx", "abc"),
      distance("flow", "flows"),
    ]).toEqual([3, 0, 1, 1, 1]);
  });
  test("what is far from everything suggests nothing", () => {
    expect(suggest("zzzzzz", ["flows", "guard"])).toEqual([]);
    expect(suggest("", ["flows"])).toEqual([]);
  });
});
