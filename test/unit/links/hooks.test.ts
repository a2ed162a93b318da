/** tc notifications as the kernel writes them: struct tcmsg in the machine's byte order. */
import { describe, expect, it } from "vitest";
import { parseHookChange, RTM } from "../../../src/links/codec.js";

const NEWQDISC = 36;
function tcmsg(handle: number, parent: number, info = 0): Buffer {
  const body = Buffer.alloc(20);
  body.writeInt32LE(7, 4);
  [handle, parent, info].forEach((value, i) => body.writeUInt32LE(value, 8 + 4 * i));
  return body;
}
const AT_INGRESS = 0xfffffff2;
const AT_EGRESS = 0xfffffff3;

describe("what somebody does to a hook", () => {
  it.each([
    ["clsact goes", RTM.DELQDISC, tcmsg(0xffff0000, 0xfffffff1), { ifindex: 7 }],
    [
      "a filter goes",
      RTM.DELTFILTER,
      tcmsg(0x70b1, AT_EGRESS, (1 << 16) | 3),
      { ifindex: 7, filter: { priority: 1, handle: 0x70b1, gone: true } },
    ],
    [
      "a filter comes",
      RTM.NEWTFILTER,
      tcmsg(9, AT_INGRESS, (50 << 16) | 3),
      { ifindex: 7, filter: { priority: 50, handle: 9, gone: false } },
    ],
  ])("%s", (_, type, body, expected) => {
    expect(parseHookChange(type, body)).toEqual(expected);
  });

  it.each([
    ["a qdisc comes", NEWQDISC, tcmsg(0xffff0000, 0xfffffff1)],
    ["a root qdisc goes", RTM.DELQDISC, tcmsg(0x80010000, 0xffffffff >>> 1)],
    ["a filter of a shaper's class", RTM.NEWTFILTER, tcmsg(1, 0x00010000)],
    ["another message", RTM.NEWLINK, tcmsg(0xffff0000, 0xfffffff1)],
    ["a message cut short", RTM.DELQDISC, tcmsg(0xffff0000, 0xfffffff1).subarray(0, 19)],
  ])("not: %s", (_, type, body) => {
    expect(parseHookChange(type, body)).toBeUndefined();
  });
});
