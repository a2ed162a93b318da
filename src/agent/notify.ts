/** systemd's readiness protocol (sd_notify(3)), by the program systemd-notify: Node has no datagram sockets of the Unix family. */
import { execFile } from "node:child_process";

export interface Notifier {
  ready(status: string): void;
  stopping(): void;
  /** Ends the watchdog's beat. */
  close(): void;
}

const SILENT: Notifier = { ready: () => undefined, stopping: () => undefined, close: () => undefined };

/** Silent unless systemd asked (NOTIFY_SOCKET). `alive`: whether the watchdog may be told so. */
export function createNotifier(
  environment: Readonly<Record<string, string | undefined>>,
  alive: () => boolean,
): Notifier {
  if (!environment["NOTIFY_SOCKET"]) return SILENT;
  // A unit needs NotifyAccess=all, since the message comes from a child. One that cannot be sent costs the notification only.
  const tell = (...words: string[]): void =>
    void execFile("systemd-notify", [`--pid=${process.pid}`, ...words], { timeout: 5000 }, () => undefined);
  const microseconds = Number(environment["WATCHDOG_USEC"]);
  const beat = microseconds > 0 ? setInterval(() => alive() && tell("WATCHDOG=1"), microseconds / 2000) : undefined;
  beat?.unref();
  return {
    ready: (status) => tell("--ready", `--status=${status}`),
    stopping: () => tell("STOPPING=1"),
    close: () => clearInterval(beat),
  };
}
