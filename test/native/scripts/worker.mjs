// Uses everything inside a worker thread, then waits to be ended, or ends by itself.
import { parentPort, workerData } from "node:worker_threads";
import { BpfError, BpfMap, BpfObject, RingBuffer } from "../../../native/dist/index.js";

const { elf, forever } = workerData;
const object = BpfObject.open(Buffer.from(elf));
await object.load();
const tell = object.program("tell");
const events = object.map("events");
const seen = object.map("seen");
let records = 0;
const ring = new RingBuffer(events, () => {
  if (++records !== 10) return;
  let own = false;
  try {
    BpfMap.open("/nowhere");
  } catch (error) {
    own = error instanceof BpfError;
  }
  parentPort.postMessage({ records, own, size: seen.info.maxEntries });
  if (!forever) {
    ring.close();
    for (const part of [object, tell, events, seen]) part.close();
    clearInterval(alive);
  }
});
const alive = setInterval(() => forever && tell.testRun({ data: Buffer.alloc(64), repeat: 500 }), forever ? 0 : 1000);
if (forever) void object.program("count").testRunAsync({ data: Buffer.alloc(64), repeat: 1_000_000 });
tell.testRun({ data: Buffer.alloc(64), repeat: 10 });
