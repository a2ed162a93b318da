/** What is seen of a guest's card and of the frames that it gives and gets. */
import { once } from "node:events";
import { expect } from "vitest";
import { stop } from "../../src/demo/world/command.js";
import type { Namespace } from "../../src/demo/world/namespace.js";
import type { Machine } from "./machine.js";

/** Bytes of a frame at an MTU of 1,500. */
const LARGEST_WHOLE = 1_514;
/** Bits as the virtio standard numbers them: CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6. */
const OFFLOADS = [0, 1, 7, 8, 11, 12];

/** "111111": its kernel and qemu have agreed on all of OFFLOADS. */
export async function offloads(machine: Machine): Promise<string> {
  const features = await machine.run("cat /sys/class/net/eth0/device/features");
  return OFFLOADS.map((bit) => features[bit]).join("");
}

/**
 * How many frames larger than LARGEST_WHOLE the host was given by the guest ("in"), or gave it ("out"), meanwhile. That there are some says
 * that a card segments; how many there are, and so their mean, says how fast the guest is.
 */
export async function largeFrames(
  host: Namespace,
  tap: string,
  way: "in" | "out",
  act: () => Promise<void>,
): Promise<number> {
  const dump = host.spawn(
    [
      ...["setpriv", "--pdeathsig", "KILL", "tcpdump", "-Z", "root", "-n", "-i", tap, "-Q", way],
      ...["-w", "/dev/null", `greater ${LARGEST_WHOLE + 1}`],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  dump.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await expect.poll(() => said).toContain("listening on");
  try {
    await act();
  } finally {
    const gone = once(dump, "close");
    await stop(dump, "SIGINT");
    await gone;
  }
  const [, captured] = /^(\d+) packets? captured/m.exec(said) ?? [];
  if (captured === undefined) throw new Error(`tcpdump said ${said}`);
  return Number(captured);
}

/**
 * How many segments (TCP, both families) and datagrams (UDP, IPv6) had a wrong checksum.
 * @param read gives a file of that kernel
 */
export async function wrongChecksums(read: (file: string) => Promise<string>): Promise<readonly [number, number]> {
  const [names = "", values = ""] = (await read("/proc/net/snmp"))
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"));
  const tcp = values.split(" ")[names.split(" ").indexOf("InCsumErrors")];
  const udp6 = /Udp6InCsumErrors\s+(\d+)/.exec(await read("/proc/net/snmp6"))?.[1];
  return [Number(tcp), Number(udp6)];
}
