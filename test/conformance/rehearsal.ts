/** bpf/tap-explain.bpf.c on the maps of the programs: over each packet before they see it. It must change nothing, and foretell all. */
import { readFileSync } from "node:fs";
import { BpfObject, type BpfMap, type BpfProgram, type TestRunResult } from "#libbpf";
import { Limits } from "../../src/abi/layout.gen.js";
import { decodeStep, STEP_BYTES, type Step } from "../../src/dataplane/bpf/walk.js";

const CONTEXT = { size: 192, mark: 8 } as const;
const ZERO = Buffer.alloc(4);
/** They hand out what they hold: compared by what the object calls (test/kernel/explain.test.ts). */
const UNREADABLE = new Set(["queue", "ringbuf"]);

export class Rehearsal {
  private constructor(
    private readonly live: ReadonlyMap<string, BpfMap>,
    private readonly maps: ReadonlyMap<string, BpfMap>,
    private readonly programs: ReadonlyMap<string, BpfProgram>,
  ) {}

  /** Maps are read twice a packet: no larger than the worlds of the table need. */
  static shrink(object: BpfObject, endpoints: number): void {
    const sizes = { drop: endpoints * Limits.MAX_REASONS, endpoint: endpoints, account: endpoints };
    const tables = {
      rule_hit: 4096,
      member: 64,
      class_list: 1024,
      policy: 8192,
      plane: 2048,
      name: 8192,
      remote: 4096,
    };
    for (const [name, entries] of Object.entries({ ...sizes, ...tables, local: 4096, tap: 1024 }))
      object.setMaxEntries(name, entries);
  }

  static async open(path: string, live: ReadonlyMap<string, BpfMap>): Promise<Rehearsal> {
    const object = BpfObject.open(readFileSync(path), { name: "explain" });
    for (const { name } of object.maps) {
      const map = live.get(name);
      if (map !== undefined && name !== "scratch") object.reuseMap(name, map);
    }
    await object.load();
    const own = ["walk", "dry"].map((name) => [name, object.map(name)] as const);
    return new Rehearsal(live, new Map(own), new Map(object.programs.map(({ name }) => [name, object.program(name)])));
  }

  /** What is in every map of the programs. */
  #contents(): Map<string, string> {
    const contents = new Map<string, string>();
    for (const [name, map] of this.live) {
      if (name === "scratch" || UNREADABLE.has(map.info.typeName)) continue;
      const { keys, values } = map.dump();
      contents.set(name, `${keys.toString("latin1")} ${values.toString("latin1")}`);
    }
    return contents;
  }

  /** @returns what compares it with the real run; `index`: where that counted a drop */
  run(name: string, data: Buffer, context: Buffer): (real: TestRunResult, index: number | undefined) => void {
    const [program, walk, dry] = [this.programs.get(name), this.maps.get("walk"), this.maps.get("dry")];
    if (program === undefined || walk === undefined || dry === undefined) throw new Error("the object is not whole");
    const before = this.#contents();
    dry.set(ZERO, Buffer.alloc(dry.info.valueSize));
    const result = program.testRun({ data, context, contextOutSize: CONTEXT.size });
    const after = this.#contents();
    for (const [map, contents] of before)
      if (after.get(map) !== contents) throw new Error(`explaining changed the map ${map}`);
    const count = dry.get(ZERO)?.readUInt32LE() ?? 0;
    const steps = Array.from({ length: Math.min(count, Limits.MAX_STEPS) }, (_, i) => {
      const key = Buffer.alloc(4);
      key.writeUInt32LE(i);
      const step = decodeStep(walk.get(key) ?? Buffer.alloc(STEP_BYTES));
      if (step === undefined) throw new Error(`step ${i} is of no kind that is known`);
      return step;
    });
    const said = (): string => JSON.stringify(steps);
    return (real, index) => {
      const marks = [result, real].map((run) => run.context.readUInt32LE(CONTEXT.mark));
      if (result.returnValue !== real.returnValue)
        throw new Error(`explained as ${result.returnValue}, done as ${real.returnValue}: ${said()}`);
      if (!result.data.equals(real.data)) throw new Error(`the frame came out otherwise than explained: ${said()}`);
      if (marks[0] !== marks[1]) throw new Error(`marked ${marks[1]}, explained as ${marks[0]}: ${said()}`);
      const last = lastly(steps);
      if (index !== undefined) {
        const drop = last?.step === "drop" ? last : undefined;
        if (drop?.endpoint !== Math.floor(index / Limits.MAX_REASONS))
          throw new Error(`counted at ${index}, explained otherwise: ${said()}`);
      }
    };
  }
}

const lastly = (steps: readonly Step[]): Step | undefined => steps.at(-1);
