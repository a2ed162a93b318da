/** What a build of another layout left pinned, read by the description that it pinned beside it. */
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BpfMap } from "#libbpf";
import { StructReader, type LayoutDescription } from "../../abi/description.js";
import { FlowConverter } from "./adopt-record.js";
import { readDescription } from "./description-pin.js";
import { mapsDir } from "./pins.js";

const VERSION = /^v\d+$/;

/** Directories of other layouts beside ours that hold maps: "/sys/fs/bpf/torbie/v1" beside "…/v2". */
export function findPredecessors(pinDir: string): readonly string[] {
  const parent = dirname(pinDir);
  if (!VERSION.test(basename(pinDir)) || !existsSync(parent)) return [];
  return readdirSync(parent)
    .filter((name) => VERSION.test(name) && name !== basename(pinDir) && existsSync(mapsDir(join(parent, name))))
    .map((name) => join(parent, name));
}

interface Dump {
  readonly count: number;
  readonly keys: Buffer;
  readonly values: Buffer;
}

export class Predecessor {
  readonly #maps = new Map<string, BpfMap>();

  private constructor(
    readonly pinDir: string,
    readonly layout: LayoutDescription,
    readonly flows: FlowConverter,
  ) {}

  /** @throws Error (RangeError, BpfError) saying why its flows can't be read */
  static open(pinDir: string): Predecessor {
    const layout = readDescription(mapsDir(pinDir));
    if (layout === undefined) throw new RangeError("it has no description of its layout that this build can read");
    const opened = new Predecessor(pinDir, layout, new FlowConverter(layout));
    try {
      for (const name of ["flow", "name", "local"]) opened.#open(name);
      return opened;
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  #open(name: string): void {
    const map = BpfMap.open(join(mapsDir(this.pinDir), name));
    this.#maps.set(name, map);
    const said = this.layout.maps[name];
    const { keySize, valueSize } = map.info;
    if (said?.keySize !== keySize || said.valueSize !== valueSize)
      throw new RangeError(`map ${name} is not as its description says`);
  }

  dump(name: "flow" | "name" | "local"): Dump {
    return this.#maps.get(name)?.dump() ?? { count: 0, keys: Buffer.alloc(0), values: Buffer.alloc(0) };
  }

  /** Digest of an endpoint's id, as latin1 → its number there. */
  endpoints(): ReadonlyMap<string, number> {
    const { NAME_ENDPOINT } = this.layout.enums["NameKind"] ?? {};
    const { count, keys, values } = this.dump("name");
    return endpointNumbers(
      new StructReader(this.layout, "name_key"),
      new StructReader(this.layout, "name"),
      NAME_ENDPOINT,
      {
        count,
        keys,
        values,
      },
    );
  }

  /** Addresses that several endpoints share (16 bytes, latin1) → number of the one that had it last. */
  shared(): ReadonlyMap<string, number> {
    const local = new StructReader(this.layout, "local");
    const bit = this.layout.enums["LocalFlag"]?.["LOCAL_SHARED"] ?? 0;
    const { count, keys, values } = this.dump("local");
    const found = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      const number = local.number(values, i * local.size, "endpoint");
      if (number !== undefined && (local.number(values, i * local.size, "flags") ?? 0) & bit)
        found.set(keys.toString("latin1", i * 16, (i + 1) * 16), number);
    }
    return found;
  }

  close(): void {
    for (const map of this.#maps.values()) map.close();
  }
}

/** From a dump of `name` in any layout. */
export function endpointNumbers(
  key: StructReader,
  name: StructReader,
  kind: number | undefined,
  { count, keys, values }: Dump,
): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    if (kind === undefined || key.number(keys, i * key.size, "kind") !== kind) continue;
    const number = key.number(keys, i * key.size, "number");
    const digest = name.bytes(values, i * name.size, "digest");
    if (number !== undefined && digest !== undefined) found.set(digest.toString("latin1"), number);
  }
  return found;
}
