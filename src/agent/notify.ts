/** systemd's readiness protocol (sd_notify(3)), over a small addon (native/notify). */
import { createRequire } from "node:module";
import { inPackage } from "../root.js";

export interface Notifier {
  /** Once: what follows waits for no longer. */
  ready(): void;
  /** What `systemctl status` shows; sent when it is another than before. */
  status(text: string): void;
  stopping(): void;
  /** Ends the watchdog's beat. */
  close(): void;
}

type Send = (path: string, message: string) => void;

const SILENT: Notifier = {
  ready: () => undefined,
  status: () => undefined,
  stopping: () => undefined,
  close: () => undefined,
};

function loadAddon(): Send {
  const { send } = createRequire(import.meta.url)(inPackage("native/build/notify.node")) as { readonly send: Send };
  return send;
}

/**
 * Silent unless systemd asked (NOTIFY_SOCKET). `alive`: whether the watchdog may be told so; asked twice in WATCHDOG_USEC. `onTrouble` hears
 * of the first message that cannot be sent.
 */
export function createNotifier(
  environment: Readonly<Record<string, string | undefined>>,
  alive: () => boolean,
  onTrouble: (error: unknown) => void,
  load: () => Send = loadAddon,
): Notifier {
  const socket = environment["NOTIFY_SOCKET"];
  if (!socket) return SILENT;
  let send: Send | undefined;
  let failed = false;
  const tell = (message: string): void => {
    try {
      send ??= load();
      send(socket, message);
      failed = false;
    } catch (error) {
      if (!failed) onTrouble(error);
      failed = true;
    }
  };
  // For us only if it names nobody else (sd_watchdog_enabled(3)).
  const ours = [undefined, "", String(process.pid)].includes(environment["WATCHDOG_PID"]);
  const microseconds = ours ? Number(environment["WATCHDOG_USEC"]) : 0;
  const beat = microseconds > 0 ? setInterval(() => alive() && tell("WATCHDOG=1"), microseconds / 2000) : undefined;
  beat?.unref();
  let ready = false;
  let said: string | undefined;
  return {
    ready: () => {
      if (!ready) tell("READY=1");
      ready = true;
    },
    status: (text) => {
      const line = text.replace(/\s+/g, " ");
      if (line !== said) tell(`STATUS=${line}`);
      said = line;
    },
    stopping: () => tell("STOPPING=1"),
    close: () => clearInterval(beat),
  };
}
