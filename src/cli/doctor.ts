/** `doctor`: what this host can do, what is in the way, and what to do about each. */
import type { Finding, Level } from "../doctor/finding.js";
import { EXIT, type Command } from "./command.js";
import { columns, json, style } from "./output.js";
import { requireRoot } from "./require.js";

const LEVELS: readonly Level[] = ["fault", "warning", "note", "ok"];

export const doctor: Command = {
  name: "doctor",
  summary: "Look at everything on this host that enforcement depends on, and say what to do about each fault.",
  detail: [
    "What this kernel can do (each tried out, in scratch maps and namespaces), which dataplane the agent would take and why, limits, sysctls,",
    "the firewall's back ends, who else is on our hooks, whether Felix or Neutron's agents are still there, the standing guard, bridges that",
    "hold taps, and who drops in FORWARD. It changes nothing. Exit status 0: no fault; 1: at least one; warnings and notes do not count.",
  ],
  arguments: [],
  flags: [{ name: "all", doc: "Also what is as it should be." }],
  settings: "all",
  examples: [
    "torbie doctor",
    "torbie doctor --all",
    "torbie doctor --json | jq '.findings[] | select(.level == \"fault\")'",
  ],
  run: async ({ context, flags, config, json: asJson }) => {
    const { config: settings } = config();
    requireRoot(context, "doctor tries out the kernel and reads the firewall");
    const { dataplane, findings } = await context.doctor(settings);
    const count = (level: Level): number => findings.filter((one) => one.level === level).length;
    const faults = count("fault");
    if (asJson) context.out(json({ healthy: faults === 0, dataplane, findings }));
    else {
      const { good, bad, bold } = style(context.colours);
      const shown = [...findings]
        .filter(({ level }) => flags.has("all") || level !== "ok")
        .sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
      const name = dataplane.name === undefined ? bad("none works") : dataplane.name;
      context.out(`${bold("Dataplane")}: ${name}: ${dataplane.why.split("\n")[0] ?? ""}\n`);
      if (shown.length > 0)
        context.out(
          columns(["LEVEL", "AREA", "WHAT", "FOUND"], shown.map(row), (cell, column) =>
            column === 0 ? (cell === "fault" ? bad(cell) : cell === "ok" ? good(cell) : cell) : cell,
          ),
        );
      for (const { what, advice, level } of shown)
        if (advice !== undefined) context.out(`  ${level === "fault" ? bad(what) : what}: ${advice}\n`);
      context.out(
        `${faults === 0 ? good("No fault") : bad(`${faults} fault${faults === 1 ? "" : "s"}`)}, ${count("warning")} warnings, ${count("note")} notes; ${count("ok")} things are as they should be${flags.has("all") ? "" : " (--all)"}.\n`,
      );
    }
    return faults === 0 ? EXIT.ok : EXIT.failed;
  },
};

const row = ({ level, area, what, result }: Finding): string[] => [level, area, what, result];
