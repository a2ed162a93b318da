import { AttrStream, putU32 } from "netlink";
import { describe, expect, it } from "vitest";
import { NLM, routeBody, RTM } from "../../../src/links/codec.js";
import { KernelView } from "../../../src/links/view.js";
import type { TapRoute } from "../../../src/links/types.js";
import type { Prefix } from "../../../src/model/types.js";

const OURS = 116;
const linkBody = (ifindex: number, name: string, flags: number, family = 0, master?: number): Buffer => {
  const out = new AttrStream();
  out.emit([Buffer.from([family, 0, 1, 0]), putU32(ifindex), putU32(flags), Buffer.alloc(4)]);
  out.push(1, Buffer.from([2, 0, 0, 0, 0, ifindex]));
  out.push(3, Buffer.from(`${name}\0`));
  out.push(4, putU32(1500));
  if (master !== undefined) out.push(10, putU32(master));
  return Buffer.concat(out.bufs);
};
const gatewayBody = (ifindex: number, protocol = 4): Buffer => {
  const out = new AttrStream();
  out.emit(Buffer.from([2, 0, 0, 0, 254, protocol, 0, 1, 0, 0, 0, 0]));
  out.push(5, Buffer.from([192, 0, 2, 1]));
  out.push(4, putU32(ifindex));
  return Buffer.concat(out.bufs);
};
const UP = 0x41;
const route = (ifindex: number): TapRoute => ({ family: 4, prefix: "10.0.0.1/32" as Prefix, metric: 1024, ifindex });
const held = (view: KernelView): number[] => [...view.routes.values()].map((one) => one.ifindex);

describe("the view of the kernel", () => {
  it("follows a link that is renamed, leaves, and comes back under the same ifindex", () => {
    const view = new KernelView(OURS);
    expect(view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP)).changed).toBe(true);
    expect(view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP)).changed).toBe(false);
    expect(view.fold(RTM.NEWLINK, 0, linkBody(5, "tapB", UP)).changed).toBe(true);
    expect([...view.links.values()].map((one) => one.name)).toEqual(["tapB"]);
    view.fold(RTM.DELLINK, 0, linkBody(5, "tapB", 0));
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapC", 0x1));
    expect([...view.links.values()].map((one) => [one.name, one.adminUp, one.up])).toEqual([["tapC", true, false]]);
  });

  it("does not count a writing after which the link was switched off", () => {
    const view = new KernelView(OURS);
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP));
    const before = view.writing(5);
    expect(before()).toBe(true);
    view.fold(RTM.NEWLINK, 0, linkBody(6, "tapB", 0));
    expect(before()).toBe(true);
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", 0));
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP));
    expect([before(), view.writing(5)()]).toEqual([false, true]);
  });

  it("takes a name from whoever held it, if its leaving was not heard", () => {
    const view = new KernelView(OURS);
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP));
    view.fold(RTM.NEWLINK, 0, linkBody(6, "tapA", UP));
    expect([...view.links.keys()]).toEqual([6]);
  });

  it("does not take a bridge port's or IPv6's message about a link for the link", () => {
    const view = new KernelView(OURS);
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP, 0, 9));
    view.fold(RTM.DELLINK, 0, linkBody(5, "tapA", UP, 7));
    expect(view.links.get(5)?.master).toBe(9);
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP));
    expect(view.links.get(5)?.master).toBe(0);
  });

  it("knows its routes by their protocol, forgets them with their link, and hears of others' in their place", () => {
    const view = new KernelView(OURS);
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP));
    expect(view.fold(RTM.NEWROUTE, 0, routeBody(route(5), OURS)).changed).toBe(true);
    expect(view.fold(RTM.NEWROUTE, 0, routeBody(route(5), OURS)).changed).toBe(false);
    expect(view.fold(RTM.NEWROUTE, NLM.REPLACE, routeBody(route(6), OURS)).changed).toBe(true);
    expect(held(view)).toEqual([6]);
    expect(view.fold(RTM.NEWROUTE, NLM.REPLACE, routeBody(route(7), 3))).toMatchObject({
      changed: true,
      foreign: "10.0.0.1/32 metric 1024",
    });
    expect(held(view)).toEqual([]);
    view.fold(RTM.NEWROUTE, 0, routeBody(route(5), OURS));
    view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", 0));
    expect(held(view)).toEqual([]);
  });

  it("adds a link with a gateway at once and asks for a reading before it takes one away", () => {
    const view = new KernelView(OURS);
    view.fold(RTM.NEWLINK, 0, linkBody(2, "eth0", UP));
    expect(view.fold(RTM.NEWROUTE, 0, gatewayBody(2))).toMatchObject({ changed: true, stale: false });
    expect(view.fold(RTM.DELROUTE, 0, gatewayBody(2))).toMatchObject({ changed: false, stale: true });
    expect([...view.gateways.links]).toEqual([2]);
    expect(view.fold(RTM.NEWROUTE, NLM.REPLACE, gatewayBody(3))).toMatchObject({ changed: true, stale: true });
    expect(view.fold(RTM.NEWLINK, 0, linkBody(2, "eth0", 0)).stale).toBe(true);
  });

  it("survives bodies cut short by throwing, never by believing", () => {
    const view = new KernelView(OURS);
    expect(() => view.fold(RTM.NEWLINK, 0, linkBody(5, "tapA", UP).subarray(0, 21))).toThrow();
    expect(view.links.size).toBe(0);
  });
});
