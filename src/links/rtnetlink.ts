/**
 * A netlink socket for requests with their acknowledgement and for dumps, in the network namespace of the process: rtnetlink, or
 * another protocol of netlink(7) for whoever names it. Notifications come by follower.ts. Over the npm package `netlink`'s raw socket, because its upper layer hides
 * NLM_F_DUMP_INTR and the error number.
 */
import { getSystemErrorName } from "node:util";
import {
  countLength,
  formatMessage,
  MessageType,
  parseMessages,
  Protocol,
  RawNetlinkSocket,
  type NetlinkMessage,
} from "netlink";
import { DataplaneError } from "../errors.js";
import { NLM } from "./codec.js";

const DUMP_TRIES = 8;
const REPLY_TIMEOUT_MS = 10_000;

/** The kernel refused a request. `errno` is positive; `code` its name ("EEXIST"). */
export class NetlinkError extends DataplaneError {
  readonly errno: number;
  constructor(what: string, errno: number) {
    const name = errno === 0 ? "ELOST" : nameOf(errno);
    const hint = name === "EPERM" ? " (root or CAP_NET_ADMIN is needed)" : "";
    super(name, `${what}: ${name}${hint}`, { retryable: name !== "EPERM" });
    this.errno = errno;
  }
}

/** The kernel knows numbers that have no name in the C library (ENOTSUPP, 524). */
function nameOf(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

interface Pending {
  readonly what: string;
  readonly onMessage: (message: NetlinkMessage) => void;
  readonly resolve: (interrupted: boolean) => void;
  readonly reject: (error: Error) => void;
  /** Something came: the time for the next begins. */
  readonly alive: () => void;
  interrupted: boolean;
}

export class RtNetlink {
  readonly #socket: RawNetlinkSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #port: number;
  #sequence = 1;
  #dumps: Promise<unknown> = Promise.resolve();
  #closed = false;
  /** Messages of this turn of the event loop, sent as one: the kernel works them off in order and answers each. */
  #outgoing: { readonly seq: number; readonly bytes: Uint8Array[] }[] = [];

  readonly #name: string;

  /** @throws when no netlink socket can be had */
  constructor(protocol: Protocol = Protocol.ROUTE, name = "rtnetlink") {
    this.#name = name;
    this.#socket = new RawNetlinkSocket(protocol);
    this.#port = this.#socket.address().port;
    this.#socket.on("message", (bytes, sender) => {
      // Only the kernel (port 0) may speak: another process could send us lies.
      if (sender.port !== 0) return;
      let messages: NetlinkMessage[];
      try {
        messages = parseMessages(bytes);
      } catch (error) {
        this.#failAll(error as Error);
        return;
      }
      for (const message of messages) {
        const pending = this.#pending.get(message.seq);
        if (pending !== undefined && message.port === this.#port) this.#reply(message, pending);
      }
    });
    this.#socket.on("error", (error) => {
      this.#failAll(this.#error(`answers were lost: ${error.message}`, 0));
    });
    // The socket alone must not keep a process alive that has nothing else to do; the timer of a request does.
    this.#socket.unref();
  }

  /** One change; resolves when the kernel has acknowledged it. @throws NetlinkError */
  async request(what: string, type: number, flags: number, body: Uint8Array): Promise<void> {
    await this.#exchange(what, type, flags | NLM.ACK, body, () => {});
  }

  /** Reads a whole table; read again when it changed meanwhile in a way that may have skipped entries (NLM_F_DUMP_INTR). */
  dump<T>(what: string, type: number, body: Uint8Array, pick: (body: Buffer) => T | undefined): Promise<T[]> {
    const run = async (): Promise<T[]> => {
      for (let tries = 0; tries < DUMP_TRIES; tries++) {
        const found: T[] = [];
        const interrupted = await this.#exchange(what, type, NLM.DUMP, body, (message) => {
          const value = pick(message.data);
          if (value !== undefined) found.push(value);
        });
        if (!interrupted) return found;
      }
      throw this.#error(`${what}: the table never stood still for one reading`, 0);
    };
    return this.#oneByOne(run);
  }

  /**
   * Reads a table once and keeps nothing of it: `visit` gets each message's body as it comes, and the event loop its turn in between. The
   * kernel waits for whoever reads slowly. A table that changes meanwhile may show an entry twice, or not one that moved.
   */
  async scan(what: string, type: number, body: Uint8Array, visit: (body: Buffer) => void): Promise<void> {
    await this.#oneByOne(() => this.#exchange(what, type, NLM.DUMP, body, ({ data }) => visit(data)));
  }

  /** The kernel answers one dump at a time a socket (EBUSY). */
  #oneByOne<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#dumps.then(run, run);
    this.#dumps = result.catch(() => undefined);
    return result;
  }

  #error(what: string, errno: number): NetlinkError {
    return new NetlinkError(`${this.#name}: ${what}`, errno);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failAll(this.#error("closed", 0));
    this.#socket.close();
  }

  #exchange(
    what: string,
    type: number,
    flags: number,
    body: Uint8Array,
    onMessage: (message: NetlinkMessage) => void,
  ): Promise<boolean> {
    if (this.#closed) return Promise.reject(this.#error(`${what}: closed`, 0));
    const seq = this.#sequence;
    this.#sequence = (this.#sequence % 0x7fffffff) + 1;
    return new Promise<boolean>((resolve, reject) => {
      const timer = setTimeout(
        () => settle(() => reject(this.#error(`${what}: no answer within ${REPLY_TIMEOUT_MS / 1000} s`, 0))),
        REPLY_TIMEOUT_MS,
      );
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        this.#pending.delete(seq);
        then();
      };
      this.#pending.set(seq, {
        what,
        onMessage,
        interrupted: false,
        alive: () => timer.refresh(),
        resolve: (interrupted) => settle(() => resolve(interrupted)),
        reject: (error) => settle(() => reject(error)),
      });
      const bytes = formatMessage({ type, flags: flags | NLM.REQUEST, seq, port: this.#port, data: body });
      if (this.#outgoing.push({ seq, bytes }) === 1) queueMicrotask(() => this.#flush());
    });
  }

  #flush(): void {
    const batch = this.#outgoing.splice(0);
    if (this.#closed) return;
    // The next message begins at a multiple of four (NLMSG_ALIGN); a length may end before.
    const aligned = batch.flatMap(({ bytes }) => [...bytes, Buffer.alloc(-countLength(bytes) & 3)]);
    this.#socket.send(Buffer.concat(aligned), {}, (error) => {
      if (error === undefined) return;
      for (const { seq } of batch) {
        const pending = this.#pending.get(seq);
        pending?.reject(this.#error(`${pending.what}: ${error.message}`, 0));
      }
    });
  }

  #reply(message: NetlinkMessage, pending: Pending): void {
    if ((message.flags & NLM.DUMP_INTR) !== 0) pending.interrupted = true;
    pending.alive();
    if (message.type !== MessageType.ERROR && message.type !== MessageType.DONE) {
      try {
        pending.onMessage(message);
      } catch (error) {
        pending.reject(error instanceof Error ? error : new Error(String(error)));
      }
      return;
    }
    const status =
      message.data.length >= 4 ? new Int32Array(Uint8Array.from(message.data.subarray(0, 4)).buffer)[0] : 0;
    if (status !== undefined && status < 0) pending.reject(this.#error(pending.what, -status));
    else pending.resolve(pending.interrupted);
  }

  #failAll(error: Error): void {
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }
}
