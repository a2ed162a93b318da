import { describe, expect, test } from "vitest";
import { CommandError, EXIT } from "../../../src/cli/command.js";
import { COMMANDS } from "../../../src/cli/table.js";
import { DataplaneError, UnsupportedError } from "../../../src/errors.js";
import { cli, HOSTILE, STATUS } from "./fake.js";

const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f]/;
const words = (name: string): string[] => name.split(" ");
/** The command line of a row, with a port that exists. */
const line = ({ name, arguments: args }: (typeof COMMANDS)[number]): string[] => [
  ...words(name),
  ...args.map((what) => (what === "MAP" ? "tap" : what === "SHELL" ? "bash" : "web1")),
  ...(name === "flow flush" ? ["--all"] : []),
  ...(name === "datastore dump" ? ["--out", "dump"] : []), // with --json the YAML must go elsewhere
];

describe("the table", () => {
  test.each(COMMANDS.map((command) => [command.name, command] as const))(
    "%s answers --help with usage, every flag and examples of its own",
    async (name, command) => {
      const { exit, out, err } = await cli([...words(name), "--help"]);
      expect([exit, err]).toEqual([0, ""]);
      expect(out).toContain(`Usage: torbie ${name}`);
      for (const flag of [
        ...command.flags.map((row) => row.name),
        "json",
        "help",
        ...(command.settings === "all" ? ["pin-dir", "flows"] : command.settings),
      ])
        expect(out).toContain(`--${flag}`);
      expect(command.examples.length).toBeGreaterThan(0);
      for (const example of command.examples)
        expect(example).toMatch(name === "help" ? /^torbie .*help/ : new RegExp(`(?:^|&& )torbie ${name}\\b`));
      expect(await cli([...words(name), "-h"])).toMatchObject({ exit: 0, out });
    },
  );

  test.each(
    // explain: explain.test.ts
    COMMANDS.filter(({ name }) => !["agent", "demo", "explain"].includes(name)).map(
      (command) => [command.name, command] as const,
    ),
  )("%s --json prints one JSON object and nothing else", async (_name, command) => {
    const { out, err } = await cli([...line(command), "--json"], { agentRuns: () => command.name === "status" });
    expect(err).toBe("");
    for (const text of command.jsonLines === true ? out.split("\n").filter((one) => one !== "") : [out])
      expect(typeof JSON.parse(text)).toBe("object");
  });

  test.each(COMMANDS.map((command) => [command.name] as const))(
    "%s refuses an unknown flag and an argument too many, and says what was meant",
    async (name) => {
      if (name === "demo") return; // hands its words on
      expect(await cli([...words(name), "--jsom"])).toMatchObject({
        exit: EXIT.usage,
        out: "",
        err: expect.stringContaining("did you mean --json?") as string,
      });
      const extra = await cli([...words(name), "a", "b"]);
      expect(extra).toMatchObject({
        exit: EXIT.usage,
        out: "",
        err: expect.stringContaining("unexpected argument") as string,
      });
    },
  );

  test("a word that several commands begin with answers --help with them", async () => {
    const { exit, out, err } = await cli(["datastore", "--help"]);
    expect({ exit, err }).toEqual({ exit: 0, err: "" });
    expect(out).toMatch(/^Usage: torbie datastore COMMAND/);
    for (const name of ["dump", "load", "diff", "accept"]) expect(out).toContain(`  datastore ${name}`);
    expect((await cli(["datastore", "--help", "dump"])).exit).toBe(EXIT.usage);
  });

  test("the overview names all of them and every exit status", async () => {
    const { exit, out } = await cli(["help"]);
    expect(exit).toBe(0);
    for (const { name } of COMMANDS) expect(out).toContain(`  ${name}`);
    for (const code of Object.values(EXIT)) expect(out).toMatch(new RegExp(`^  ${code} +\\w`, "m"));
    expect((await cli(["--help"])).out).toBe(out);
    expect(await cli([])).toMatchObject({ exit: EXIT.usage, out: "", err: out });
  });
});

describe("wrong command lines", () => {
  test.each([
    [["stauts"], /unknown command "stauts"; did you mean status\?/],
    [["endpoint"], /"endpoint" needs a word more: endpoint list, endpoint show/],
    [["endpoint", "lits"], /did you mean endpoint list\?/],
    [["endpoint", "show"], /PORT is missing/],
    [["agent", "--pin-dri", "/x"], /unknown flag "--pin-dri"; did you mean --pin-dir\?/],
    [["agent", "-pin-dir", "/x"], /unknown flag "-pin-dir"; did you mean --pin-dir\?/],
    [["agent", "--pin-dir"], /--pin-dir needs a value/],
    [["agent", "--flows", "1", "--flows", "2"], /--flows is given twice/],
    [["status", "--json=yes"], /--json takes no value/],
    [["status", "--flows", "2048"], /unknown flag "--flows"/],
    [["agent", "--no-flows"], /unknown flag "--no-flows"/],
    [["agent", "--mark-shift", "99"], /--mark-shift: mark-shift: expected integer 0\.\.16/],
    [["agent", "--datastore", "etcdv3"], /Torbie calls it "etcd"/],
    [["agent", "--config", "/nowhere.yaml"], /"\/nowhere.yaml" does not exist/],
    [[HOSTILE], /unknown command "evil\\n/],
  ])("%j", async (command, expected) => {
    const { exit, out, err } = await cli(command);
    expect([exit, out]).toEqual([EXIT.usage, ""]);
    expect(err).toMatch(expected);
    expect(err).not.toMatch(CONTROLS);
  });

  test("with --json the complaint is JSON as well", async () => {
    const { exit, err } = await cli(["endpoint", "show", "nobody", "--json"]);
    expect(exit).toBe(EXIT.absent);
    expect(JSON.parse(err)).toMatchObject({ error: { code: "NO_SUCH_PORT", exit: 3 } });
  });
});

describe("agent", () => {
  test("takes every setting as a flag, switches also as --no-…", async () => {
    let seen: unknown;
    const result = await cli(["agent", "--no-guard", "--host-to-guest=false", "--policy-dir", "/p"], {
      runAgent: ({ config }) => {
        seen = config;
        return Promise.resolve(0);
      },
    });
    expect(result.exit).toBe(0);
    expect(seen).toMatchObject({ guard: false, hostToGuest: false, policyDir: "/p" });
  });

  test("reads the file that TORBIE_CONFIG names", async () => {
    const { out } = await cli(["config", "show", "--json"], {
      environment: { TORBIE_CONFIG: "/c.yaml", TORBIE_FLOWS: "4096" },
      readText: (path) => (path === "/c.yaml" ? "flows: 2048\nlog-level: warn\n" : undefined),
    });
    expect(JSON.parse(out)).toMatchObject({
      file: "/c.yaml",
      settings: {
        flows: { value: 4096, from: "environment", where: "TORBIE_FLOWS" },
        "log-level": { value: "warn", from: "file", where: "/c.yaml:2:1" },
      },
    });
  });

  test.each(["agent", "cleanup", "guard install", "guard remove", "guard show"])(
    "%s: not root is said before anything is touched",
    async (name) => {
      expect(await cli(words(name), { uid: 1000 })).toMatchObject({
        exit: EXIT.notPermitted,
        out: "",
        calls: [],
        err: expect.stringContaining("run as root") as string,
      });
    },
  );

  test("no BPF: what is missing and what to do, with a status of its own", async () => {
    const result = await cli(["agent"], {
      runAgent: () =>
        Promise.reject(
          new UnsupportedError("NO_BPF", "this kernel has no tc hook: load cls_bpf, or use a kernel ≥ 5.10"),
        ),
    });
    expect(result).toMatchObject({
      exit: EXIT.unsupported,
      err: "torbie: this kernel has no tc hook: load cls_bpf, or use a kernel ≥ 5.10\n",
    });
  });

  test("a fault of ours shows where it is", async () => {
    const { exit, err } = await cli(["agent"], {
      runAgent: () => Promise.reject(new TypeError("undefined is not a function")),
    });
    expect(exit).toBe(EXIT.failed);
    expect(err).toMatch(/at .*cli\.test\.ts/);
  });

  test("demo gets its words as they are", async () => {
    expect((await cli(["demo", "--once", "x y"])).calls).toEqual(["demo --once x y"]);
  });
});

describe("reading commands", () => {
  test.each(["endpoint list", "endpoint show web1", "policy show web1"])(
    "%s: without pinned state says so, with a status of its own",
    async (name) => {
      const { exit, out, err } = await cli(words(name), { pinned: false });
      expect([exit, out]).toEqual([EXIT.absent, ""]);
      expect(err).toMatch(/nothing is pinned at \/sys\/fs\/bpf\/torbie/);
    },
  );

  test("they work while the agent is down", async () => {
    const down = { agentRuns: () => false, readStatus: () => undefined };
    for (const name of ["endpoint list", "endpoint show web1", "policy show web1"])
      expect(await cli(words(name), down)).toMatchObject({ exit: 0, err: "" });
  });

  test.each([
    "endpoint list",
    "endpoint show openstack/host1-openstack-evil",
    "policy show openstack/host1-openstack-evil",
    "status",
  ])("%s prints a hostile name escaped, in its own line", async (name) => {
    const { out } = await cli(words(name));
    expect(out).toContain("evil\\n\\u001b[2J$(reboot)\\0");
    expect(out).not.toMatch(CONTROLS);
  });

  test("endpoint list, for people and for scripts", async () => {
    const text = (await cli(["endpoint", "list"])).out;
    expect(text).toMatch(/^tap1a2b3c4d-01 +web1 +1a2b3c4d-0001 +10\.65\.0\.1\/32 fd00::\/64 +3 +7 +enforced$/m);
    const { endpoints } = JSON.parse((await cli(["endpoint", "list", "--json"])).out) as { endpoints: unknown[] };
    expect(endpoints).toMatchObject([
      {
        interface: "tap1a2b3c4d-01",
        workload: "web1",
        port: "1a2b3c4d-0001",
        state: "enforced",
        addresses: ["10.65.0.1/32", "fd00::/64"],
        flows: 3,
        drops: 7,
      },
      { interface: "tap1a2b3c4d-02", workload: "web2", state: "open" },
      { interface: null, state: "down" },
    ]);
  });

  test("endpoint show: the sentence of every drop, sources with their MAC, big counters exact", async () => {
    const text = (await cli(["endpoint", "show", "web1"])).out;
    expect(text).toMatch(/7 +SPOOFED_ADDRESS +sent from an address that is not its own/);
    expect(text).toContain("fd00::/64 as fa:16:3e:00:00:99");
    expect(JSON.parse((await cli(["endpoint", "show", "web1", "--json"])).out)).toMatchObject({
      number: 1,
      portSecurity: true,
      sources: [
        { prefix: "10.65.0.1/32", mac: "fa:16:3e:00:00:01" },
        { prefix: "fd00::/64", mac: "fa:16:3e:00:00:99" },
      ],
      policySet: { number: 5, policies: ["np:openstack/web", "np:openstack/default", "gnp:evil\n"] },
      dropsByReason: [
        { reason: "SPOOFED_ADDRESS", count: 7 },
        { reason: "ARP_ABSORBED", count: "9007199254740993", harmless: true },
      ],
    });
  });

  test("policy show: in order of evaluation, with hits and origin", async () => {
    const text = (await cli(["policy", "show", "web1"])).out;
    expect(text).toMatch(
      /12 +allow \(stateless\) +v4 +tcp\/80,8000-8010 +all\(\) evil.* np:openstack\/web\n2 +allow +v4 v6 +icmp type 8 +any +gnp:evil\\n\nwhatever no rule admits is dropped/,
    );
    expect(text).toMatch(/udp from port 53 +any +rule 7$/m);
    expect(text).toContain("  np:openstack/web (groups.yaml:20)\n  np:openstack/default\n");
    expect(JSON.parse((await cli(["policy", "show", "web1", "--json"])).out)).toMatchObject({
      policies: [
        { id: "np:openstack/web", origin: "groups.yaml:20" },
        { id: "np:openstack/default", origin: null },
        {},
      ],
      ingress: [
        {
          plane: 0,
          end: "deny",
          rules: [
            {
              policy: "np:openstack/web",
              hits: 12,
              ports: [
                { first: 80, last: 80 },
                { first: 8000, last: 8010 },
              ],
            },
            {},
          ],
        },
      ],
      egress: [{ rules: [{ rule: null, policy: null, ports: null, sourcePorts: [{ first: 53, last: 53 }] }] }],
    });
    expect((await cli(["policy", "show", "web2"])).out).toContain("port security is off");
    expect((await cli(["policy", "show", "openstack/host1-openstack-evil"])).out).toContain(
      "nothing is allowed: no policy applies",
    );
  });

  test.each([
    ["tap1a2b3c4d-01", 1],
    ["web1", 1],
    ["1a2b3c4d-0002", 2],
    ["openstack/host1-openstack-web2-1a2b3c4d--0002", 2],
    ["tap1a2b3c4d-02", 2],
    ["web2", 2],
  ])("PORT may be %s", async (word, number) => {
    expect(JSON.parse((await cli(["endpoint", "show", word, "--json"])).out)).toMatchObject({ number });
  });

  test.each([
    ["web", EXIT.usage, /"web" fits 2 ports: tap1a2b3c4d-01, tap1a2b3c4d-02; say more/],
    ["wbe1", EXIT.absent, /no port "wbe1" on this host; did you mean web1/],
    ["", EXIT.absent, /no port "" on this host/],
    [HOSTILE, EXIT.absent, /no port "evil\\n/],
    ["__proto__", EXIT.absent, /no port "__proto__"/],
  ])("PORT %j is refused", async (word, status, expected) => {
    const { exit, err } = await cli(["endpoint", "show", word]);
    expect(exit).toBe(status);
    expect(err).toMatch(expected);
    expect(err).not.toMatch(CONTROLS);
  });
});

describe("status", () => {
  test("running: pid, problems with consequence, what is asked for and not enforced", async () => {
    const { exit, out } = await cli(["status"]);
    expect(exit).toBe(0);
    expect(out).toMatch(/agent +running \(pid 4711, since 2026-01-01T00:00:00.000Z/);
    expect(out).toMatch(/impossible \[BAD_CIDR\]\n +this rule allows nothing/);
    expect(out).toContain("qosControls");
  });

  test("down: says since when the data is, that the kernel enforces all the same, and exits 3", async () => {
    const { exit, out } = await cli(["status"], { agentRuns: () => false });
    expect(exit).toBe(EXIT.absent);
    expect(out).toMatch(/not running: gone without a word; its last was at 2026-01-01T00:01:00.000Z/);
    expect(out).toMatch(/3 endpoints enforced, also without the agent/);
    expect(
      (await cli(["status"], { agentRuns: () => false, readStatus: () => ({ ...STATUS, stopped: "2026-02-02" }) })).out,
    ).toContain("stopped at 2026-02-02");
  });

  test("never ran: no pinned state, no file", async () => {
    const never = { agentRuns: () => false, readStatus: () => undefined, pinned: false, lockHolder: () => undefined };
    const { exit, out } = await cli(["status"], never);
    expect(exit).toBe(EXIT.absent);
    expect(out).toMatch(/nothing is pinned/);
    expect(JSON.parse((await cli(["status", "--json"], never)).out)).toEqual({
      running: false,
      pid: null,
      pinned: null,
      agent: null,
    });
  });

  test("a state that cannot be read is an error, not an absence", async () => {
    const denied = () => Promise.reject(new CommandError(EXIT.notPermitted, "EPERM", "reading maps needs root"));
    expect(await cli(["status"], { openState: denied })).toMatchObject({ exit: EXIT.notPermitted, out: "" });
  });
});

describe("cleanup and guard", () => {
  test("cleanup refuses while the agent runs, naming it", async () => {
    expect(await cli(["cleanup", "--open"])).toMatchObject({
      exit: EXIT.refused,
      calls: [],
      err: expect.stringContaining("pid 4711") as string,
    });
  });

  test("cleanup refuses while taps are up, unless --open", async () => {
    const up = { agentRuns: () => false, openTaps: () => Promise.resolve(["tap1", "tap2"]) };
    expect(await cli(["cleanup"], up)).toMatchObject({
      exit: EXIT.refused,
      calls: [],
      err: expect.stringMatching(/2 guests' interfaces are up \(tap1, tap2\).*--open/) as string,
    });
    expect(await cli(["cleanup", "--open"], up)).toMatchObject({
      exit: 0,
      calls: ["cleanup"],
      out: expect.stringMatching(/^22 +maps$/m) as string,
    });
  });

  test("the guard is not taken away under a running agent", async () => {
    expect(await cli(["guard", "remove"])).toMatchObject({ exit: EXIT.refused });
    expect(await cli(["guard", "remove"], { agentRuns: () => false })).toMatchObject({
      exit: 0,
      out: "guard: off (it already was)\n",
    });
    expect(await cli(["guard", "install"])).toMatchObject({ exit: 0, out: "guard: on\n" });
  });
});

describe("takeover and handback", () => {
  test("takeover says each step, and what is to be done then", async () => {
    expect(await cli(["takeover"])).toMatchObject({
      exit: 0,
      calls: ["takeover"],
      out: expect.stringMatching(
        /^ 1\. Removed 8 sets\n {4}cali40s:1, .*, and 2 more\nDone: .* systemctl enable --now torbie-guard torbie\n$/,
      ) as string,
    });
    expect(await cli(["takeover", "--dry-run", "--force"])).toMatchObject({
      calls: ["takeover dry-run force"],
      out: expect.stringContaining("Nothing was changed (--dry-run).") as string,
    });
    expect(JSON.parse((await cli(["takeover", "--json"])).out)).toMatchObject({
      dryRun: false,
      enforced: { by: "bpf" },
    });
  });

  test("what is in the way is refused, each with what to do; nothing there is no error", async () => {
    const takeover = () =>
      Promise.reject(new DataplaneError("HINDERED", "nothing was changed:\nFelix is running (pid 7)\n  systemctl …"));
    expect(await cli(["takeover"], { takeover })).toMatchObject({
      exit: EXIT.refused,
      err: expect.stringContaining("Felix is running (pid 7)") as string,
    });
    const hindrances = [{ code: "INCUMBENT_RUNS", what: "Felix is running", how: "systemctl disable" }] as const;
    const dry = () => Promise.resolve({ nothing: false, steps: [], hindrances, left: [] });
    expect(await cli(["takeover", "--dry-run"], { takeover: dry })).toMatchObject({
      exit: EXIT.refused,
      out: expect.stringContaining("In the way: Felix is running\n  systemctl disable") as string,
    });
    const nothing = () => Promise.resolve({ nothing: true, steps: [], hindrances: [], left: [] });
    expect(await cli(["takeover"], { takeover: nothing })).toMatchObject({ exit: 0 });
    const unreadable = () => Promise.reject(new DataplaneError("NO_DATASTORE", "etcd can't be read"));
    expect(await cli(["takeover"], { takeover: unreadable })).toMatchObject({ exit: EXIT.absent });
  });

  test("handback waits as long as it is told, and says which taps are open", async () => {
    expect(await cli(["handback"])).toMatchObject({ exit: 0, calls: ["handback 60"] });
    expect(await cli(["handback", "--wait", "5", "--force"])).toMatchObject({
      exit: 0,
      calls: ["handback 5 force"],
      out: expect.stringContaining("Open: no rules of Felix's judge tapweb1") as string,
    });
    expect(await cli(["handback", "--dry-run"])).toMatchObject({ exit: EXIT.refused });
    expect(await cli(["handback", "--wait", "soon"])).toMatchObject({ exit: EXIT.usage });
  });

  test("both need root", async () => {
    for (const word of ["takeover", "handback"])
      expect(await cli([word], { uid: 1000 })).toMatchObject({ exit: EXIT.notPermitted, calls: [] });
  });
});

describe("colours", () => {
  test("only when the context says so", async () => {
    expect((await cli(["status"])).out).not.toContain("\u001b");
    expect((await cli(["status"], { colours: true })).out).toContain("\u001b[32m");
  });
});
