/** `node dist/abi/generate.js <object> <layout.gen.ts> [--check]`: writes the layout, or says that it differs. A build tool. */
import { readFileSync, writeFileSync } from "node:fs";
import { readBtf } from "#libbpf";
import { renderLayout } from "./layout.js";

const [object, target, check] = process.argv.slice(2);
if (object === undefined || target === undefined || (check !== undefined && check !== "--check")) {
  process.stderr.write("usage: generate <object file> <layout.gen.ts> [--check]\n");
  process.exitCode = 2;
} else {
  const text = renderLayout(readBtf(readFileSync(object)));
  if (check === undefined) {
    writeFileSync(target, text);
  } else if (readFileSync(target, "utf8") !== text) {
    process.stderr.write(
      `${target} is not what ${object} says: bpf/abi.h or bpf/maps.h changed. Run \`make generate\` and commit it.\n`,
    );
    process.exitCode = 1;
  }
}
