/** Where in the pin directory this version keeps its pins: the layout's version is part of the path (src/dataplane/bpf/pins.ts). Pure. */
import { basename, join } from "node:path";
import { DEFAULT_PIN_DIR } from "../../dataplane/bpf/pins.js";

export const VERSION_DIR = basename(DEFAULT_PIN_DIR);
/** Names of pins of any version. */
export const ANY_VERSION = /^v\d+$/;

export const pinsIn = (pinDir: string): string => join(pinDir, VERSION_DIR);
