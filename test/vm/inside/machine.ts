/** The guest of the suite "guest", and how it is reached from in the VM: said to both sides. */
import { guestSpec } from "../../support/guests.js";

export const MACHINE = guestSpec("machine", 11);
/** Names of the VM's virtio ports that lead to its emulator. */
export const PORTS = { frames: "torbie.frames", console: "torbie.console" } as const;
