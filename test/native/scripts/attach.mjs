// Attaches, replaces, looks and takes away on one end of a veth. Runs inside a network namespace of its own (the test
// sees to it); prints what it saw as JSON.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { BpfError, BpfLink, BpfObject, clsact, features, tcx } from "../../../native/dist/index.js";

const [, , elf, bpffs] = process.argv;
const ip = (...words) => execFileSync("ip", words);
// Without IPv6 nothing is sent but what this script sends.
for (const whose of ["all", "default"]) writeFileSync(`/proc/sys/net/ipv6/conf/${whose}/disable_ipv6`, "1");
ip("link", "set", "lo", "up");
ip("link", "add", "left", "type", "veth", "peer", "name", "right");
for (const name of ["left", "right"]) ip("link", "set", name, "up");
ip("addr", "add", "192.0.2.1/24", "dev", "left");
ip("neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", "left", "nud", "permanent");
const ifindex = JSON.parse(ip("-j", "link", "show", "dev", "left"))[0].ifindex;

const object = BpfObject.open(readFileSync(elf));
await object.load();
const count = object.program("count");
const drop = object.program("drop");
const runs = object.map("runs");
const names = { [count.info.id]: "count", [drop.info.id]: "drop" };
const code = (action) => {
  try {
    return action();
  } catch (error) {
    return error instanceof BpfError ? error.code : error.constructor.name;
  }
};
const seen = (attached) =>
  attached.map(({ programId, name, kind, priority, handle, linkId }) => ({
    program: names[programId] ?? programId,
    name,
    kind,
    priority,
    handle,
    ...(linkId === undefined ? {} : { held: linkId > 0 }),
  }));
const total = () => {
  const value = runs.get(Buffer.alloc(4));
  let sum = 0;
  for (let at = 0; at < value.length; at += 8) sum += value.readUInt32LE(at);
  return sum;
};
/** How many of five datagrams the counting program sees on their way out. */
const counted = async () => {
  const before = total();
  const socket = createSocket("udp4");
  for (let i = 0; i < 5; i++) await new Promise((done) => socket.send("x", 9, "192.0.2.2", done));
  socket.close();
  return total() - before;
};
const place = { ifindex, direction: "egress", priority: 10, handle: 1 };
const out = {};

out.emptyQuery = clsact.query(ifindex, "egress");
out.detachWithoutQdisc = clsact.detach(place);
out.removeWithoutQdisc = clsact.removeQdisc(ifindex);
out.missingInterface = code(() => clsact.attach({ ...place, ifindex: 2 ** 31 - 1, program: count }));
out.missingInterfaceQuery = clsact.query(2 ** 31 - 1, "egress");
out.wrong = [
  () => clsact.attach({ ...place, program: {} }),
  () => clsact.attach({ ...place, program: runs }),
  () => clsact.attach({ ...place, ifindex: 0, program: count }),
  () => clsact.attach({ ...place, direction: "sideways", program: count }),
  () => clsact.attach({ ...place, priority: 65536, program: count }),
  () => clsact.attach({ ...place, handle: 0, program: count }),
  () => tcx.attach({ ...place, program: {} }),
  () => tcx.attach({ ...place, program: count, expectedRevision: 1 }),
].map(code);

clsact.attach({ ...place, program: count });
out.counted = await counted();
clsact.attach({ ...place, program: drop });
out.replaced = [seen(clsact.query(ifindex, "egress")), await counted()];
clsact.attach({ ...place, program: count });
execFileSync("tc", "filter add dev left egress prio 5 protocol all u32 match u32 0 0".split(" "));
clsact.attach({ ...place, priority: 20, handle: 3, program: drop });
out.foreign = seen(clsact.query(ifindex, "egress"));
out.otherDirection = clsact.query(ifindex, "ingress");
out.detached = [clsact.detach(place), clsact.detach(place), clsact.detach({ ...place, priority: 999 })];
out.removeWhileUsed = clsact.removeQdisc(ifindex);
execFileSync("tc", "filter del dev left egress prio 5".split(" "));
clsact.detach({ ...place, priority: 20, handle: 3 });
out.removed = [clsact.removeQdisc(ifindex), clsact.removeQdisc(ifindex)];
out.wrongType = code(() => clsact.attach({ ...place, program: object.program("xdp_drop") }));

if (features.tcx()) {
  const hook = { ifindex, direction: "egress" };
  out.tcxEmpty = [tcx.query(ifindex, "egress"), String(tcx.revision(ifindex, "egress"))];
  const link = tcx.attach({ ...hook, program: count });
  out.tcxCounted = await counted();
  const first = tcx.attach({ ...hook, program: drop, first: true });
  out.tcxOrder = [seen(tcx.query(ifindex, "egress")), await counted()];
  const revision = tcx.revision(ifindex, "egress");
  first.close();
  out.stale = code(() => tcx.attach({ ...hook, program: drop, expectedRevision: revision }));
  out.tcxMissing = code(() => tcx.query(2 ** 31 - 1, "egress"));
  link.update(drop);
  out.tcxReplaced = [seen(tcx.query(ifindex, "egress")), link.info.programId === drop.info.id];
  const { id, type, ifindex: at, direction } = link.info;
  out.linkInfo = { id: id > 0, type, here: at === ifindex, direction };
  link.pin(`${bpffs}/link`);
  link.close();
  out.afterClose = code(() => link.update(count));
  const again = BpfLink.open(`${bpffs}/link`);
  again.update(count);
  out.adopted = await counted();
  again.detach();
  out.tcxDetached = [tcx.query(ifindex, "egress"), again.info.ifindex];
  out.wrongKind = code(() => BpfLink.open(`${bpffs}/none`));
  again.close();
}

console.log(JSON.stringify(out));
