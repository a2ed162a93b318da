/**
 * Subscribes to rtnetlink groups in a child process that does nothing else, and hands on what it hears.
 *
 * Why a child: when notifications come faster than they are read, the kernel marks the socket (ENOBUFS); libuv reports that as
 * an error of the poll, and `netlink` 0.3.0 then gives a null pointer to Node-API and the process is aborted. In a child that is
 * no more than what it means: notifications were lost. A child that only reads also falls behind much later than an agent that
 * compiles meanwhile (Debian 12 allows 416 KiB, about 180 changes of a link).
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import { parseMessages, type NetlinkMessage } from "netlink";
import { DataplaneError } from "../errors.js";

/** Each datagram goes to the parent with its length in front (u32, little-endian); an empty one first: subscribed. Ends with its input. */
const SOURCE = `
const { RawNetlinkSocket } = require(process.argv[1]);
const out = new (require("node:net").Socket)({ fd: 1, readable: false, writable: true });
const put = (bytes) => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  out.write(Buffer.concat([length, bytes]));
};
const socket = new RawNetlinkSocket(0);
socket.setRecvBufferSize(4 << 20);
for (const group of process.argv.slice(2)) socket.addMembership(Number(group));
socket.on("message", (bytes, sender) => sender.port === 0 && put(bytes));
socket.on("error", () => process.exit(1));
out.on("error", () => process.exit(0));
process.stdin.on("end", () => process.exit(0)).resume();
put(Buffer.alloc(0));
`;

export class Follower {
  readonly #child: ChildProcess;
  #rest: Buffer = Buffer.alloc(0);
  #over = false;

  /**
   * Keeps the process alive until closed.
   * @param groups RTNLGRP_* numbers
   * @param onReady every change from now on is heard
   * @param onMessage a notification of the kernel
   * @param onLost something was or will be missed, and why; nothing more comes. Once.
   */
  constructor(
    groups: readonly number[],
    onReady: () => void,
    onMessage: (message: NetlinkMessage) => void,
    onLost: (error: Error) => void,
  ) {
    const netlink = createRequire(import.meta.url).resolve("netlink");
    // In the same network namespace as this process. No environment: NODE_OPTIONS is meant for the agent.
    this.#child = spawn(process.execPath, ["-e", SOURCE, netlink, ...groups.map(String)], {
      stdio: ["pipe", "pipe", "ignore"],
      env: {},
      cwd: "/",
    });
    const lost = (error: Error): void => {
      if (this.#over) return;
      this.close();
      onLost(error);
    };
    this.#child.on("error", (error) =>
      lost(
        new DataplaneError("FOLLOWER_FAILED", `cannot start the reader of rtnetlink notifications: ${error.message}`, {
          cause: error,
          retryable: true,
        }),
      ),
    );
    this.#child.on("exit", (code, signal) =>
      lost(
        new DataplaneError(
          "NOTIFICATIONS_LOST",
          signal === "SIGABRT"
            ? "the kernel dropped rtnetlink notifications (ENOBUFS)"
            : `the reader of rtnetlink notifications ended (${signal ?? code})`,
          { retryable: true },
        ),
      ),
    );
    this.#child.stdin?.on("error", () => undefined);
    this.#child.stdout?.on("data", (bytes: Buffer) => {
      if (this.#over) return;
      try {
        for (const datagram of this.#datagrams(bytes)) {
          if (datagram.length === 0) onReady();
          else for (const message of parseMessages(datagram)) onMessage(message);
        }
      } catch (error) {
        lost(error as Error);
      }
    });
  }

  /** Nothing is heard any more. */
  close(): void {
    this.#over = true;
    this.#child.kill("SIGKILL");
  }

  #datagrams(bytes: Buffer): Buffer[] {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const found: Buffer[] = [];
    let at = 0;
    while (at + 4 <= all.length && at + 4 + all.readUInt32LE(at) <= all.length) {
      const end = at + 4 + all.readUInt32LE(at);
      found.push(all.subarray(at + 4, end));
      at = end;
    }
    this.#rest = all.subarray(at);
    return found;
  }
}
