/** Packets that a Log rule matched, as log lines; a guest can make as many of them as it likes, so only so many a second are written. */
import type { BpfMap } from "#libbpf";
import { decode } from "../../abi/codec.js";
import { NameKind } from "../../abi/layout.gen.js";
import { u32 } from "../../abi/records.js";
import { readEvents } from "../../dataplane/bpf/events.js";
import { printable } from "../../text.js";
import type { AgentLog } from "../parts.js";

const MOST_A_SECOND = 100;

export class PacketLog {
  readonly #names: BpfMap | undefined;
  readonly #stop: () => void;
  #second = 0;
  #written = 0;
  #left = 0;

  constructor(maps: ReadonlyMap<string, BpfMap>, log: AgentLog, now: () => number = () => performance.now()) {
    this.#names = maps.get("name");
    const events = maps.get("event");
    this.#stop =
      events === undefined
        ? () => undefined
        : readEvents(events, ({ endpoint, rule, action: _action, ...packet }) => {
            if (!this.#admit(Math.floor(now() / 1000))) return;
            const more = this.#left > 0 ? { suppressed: this.#left } : {};
            this.#left = 0;
            log.info(
              {
                endpoint: this.#name(NameKind.NAME_ENDPOINT, endpoint),
                rule: this.#name(NameKind.NAME_RULE, rule),
                ...packet,
                ...more,
              },
              "packet",
            );
          });
  }

  #admit(second: number): boolean {
    if (second !== this.#second) {
      this.#second = second;
      this.#written = 0;
    }
    if (this.#written++ < MOST_A_SECOND) return true;
    this.#left++;
    return false;
  }

  #name(kind: number, number: number): string {
    const value = this.#names?.get(Buffer.from(u32(kind) + u32(number), "latin1"));
    if (value === undefined) return String(number);
    const { text, length } = decode("name", value);
    return printable(Buffer.from(text).subarray(0, length).toString("utf8"));
  }

  close(): void {
    this.#stop();
  }
}
