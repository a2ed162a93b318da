// What a process with an open ring buffer does when nothing else is left to do, when its callback throws, when it exits.
import { readFileSync } from "node:fs";
import { BpfObject, RingBuffer } from "../../../native/dist/index.js";

const [, , mode, elf] = process.argv;
const object = BpfObject.open(readFileSync(elf));
await object.load();
const tell = object.program("tell");
const events = object.map("events");
const send = (repeat) => tell.testRun({ data: Buffer.alloc(64), repeat });

if (mode === "idle") {
  globalThis.kept = new RingBuffer(events, () => {});
  console.log("open");
} else if (mode === "throw") {
  let records = 0;
  let message = "";
  const alive = setInterval(() => {}, 1000);
  const finish = () => {
    if (records !== 3 || message === "") return;
    records = 0;
    console.log(`records 3, uncaught: ${message}`);
    clearInterval(alive);
  };
  process.on("uncaughtException", (error) => {
    message = error.message;
    finish();
  });
  new RingBuffer(events, () => {
    records++;
    setImmediate(finish);
    if (records === 1) throw new Error("first");
  });
  send(3);
} else {
  new RingBuffer(events, () => process.exit(3));
  setInterval(() => send(1000), 1);
}
