/** Every program that this kernel is meant to take passes its verifier, within the budget of instructions that budget.json sets it. */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { expect, it } from "vitest";
import { BpfObject } from "#libbpf";

/** Instructions the verifier may process, by kernel, object and program: a quarter more than was counted, of a million that it allows. */
type Budget = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>;

const kernel = process.env["VM_KERNEL"] ?? "";
const budget = (JSON.parse(readFileSync("test/vm/budget.json", "utf8")) as Budget)[kernel];
if (budget === undefined) throw new Error(`test/vm/budget.json has nothing for kernel '${kernel}'`);

for (const [file, programs] of Object.entries(budget)) {
  it(`${file} passes the verifier of ${release()}`, async () => {
    const object = BpfObject.open(readFileSync(`build/${file}`), { name: "torbie" });
    try {
      const names = object.programs.map(({ name }) => name);
      for (const name of names) object.keepVerifierStatistics(name);
      await object.load().catch((error: unknown) => {
        const said = names.map((name) => `${name}: ${object.verifierStatistics(name).slice(-600)}`).join("\n");
        throw new Error(`${String(error)}\n${said}`, { cause: error });
      });
      expect([...names].sort(), "programs that budget.json has").toEqual(Object.keys(programs).sort());
      const counted = names.map((name) => {
        const program = object.program(name);
        const { jitedBytes } = program.info;
        program.close();
        const instructions = Number(/processed (\d+) insns/.exec(object.verifierStatistics(name))?.[1] ?? 0);
        const most = programs[name] ?? 0;
        console.log(`vm: ${file} ${name}: ${instructions} instructions of ${most}, ${jitedBytes} bytes`);
        return { name, instructions, most };
      });
      for (const { name, instructions, most } of counted) {
        expect(instructions, `${name}: instructions are counted`).toBeGreaterThan(0);
        expect(instructions, `${name}: instructions against the budget`).toBeLessThanOrEqual(most);
      }
    } finally {
      object.close();
    }
  });
}
