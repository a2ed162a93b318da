import { expect, it } from "vitest";
import { u32, type Bytes } from "../../../../src/abi/records.js";
import { FreshMaps } from "../../../../src/dataplane/bpf/fresh-maps.js";
import type { Maps } from "../../../../src/dataplane/bpf/maps.js";

it("arrays count as empty until something is written, whatever else is read as it is", () => {
  const asked: string[] = [];
  const one = new Map([[u32(0), "1" as Bytes]]);
  const kernel: Maps = {
    get: () => "1" as Bytes,
    dump: (map) => {
      asked.push(map);
      return one;
    },
    write: () => undefined,
  };
  const maps = new FreshMaps(kernel);
  expect(maps.dump("endpoint").size).toBe(0);
  expect(maps.dump("name")).toBe(one);
  expect(maps.get("endpoint", u32(0))).toBe("1");
  maps.write("tap", [], () => undefined);
  expect(maps.dump("endpoint")).toBe(one);
  expect(asked).toEqual(["name", "endpoint"]);
});
