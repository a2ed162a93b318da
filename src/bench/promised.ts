/** Reads what `make bench` printed and exits with 1 when a figure that it promises is not there; values are not judged. */
import { readFileSync } from "node:fs";
import { missing } from "./results.js";

const absent = missing(readFileSync(0, "utf8").split("\n"));
if (absent.length > 0) {
  console.error(`make bench did not print ${absent.join(", ")}`);
  process.exitCode = 1;
}
