/** Where things are pinned. Names in a bpffs can't hold a dot (kernel/bpf/inode.c, bpf_lookup). */
import { join } from "node:path";
import { ABI_VERSION } from "../../abi/constants.js";
import { MAPS } from "../../abi/layout.gen.js";
import type { MapName } from "./plan.js";

/** The layout's version is in the path: an agent of another layout neither reads nor writes these. */
export const DEFAULT_PIN_DIR = `/sys/fs/bpf/torbie/v${ABI_VERSION}`;

export const PROGRAMS = ["tap_ingress", "tap_egress", "uplink_ingress"] as const;
export type ProgramName = (typeof PROGRAMS)[number];
export const MAP_NAMES = Object.keys(MAPS) as MapName[];

export const mapsDir = (pinDir: string): string => join(pinDir, "maps");
export const programsDir = (pinDir: string): string => join(pinDir, "programs");
export const linksDir = (pinDir: string): string => join(pinDir, "links");
export const mapPath = (pinDir: string, map: MapName): string => join(mapsDir(pinDir), map);
export const programPath = (pinDir: string, program: ProgramName): string => join(programsDir(pinDir), program);
export const linkPath = (pinDir: string, ifindex: number, direction: string): string =>
  join(linksDir(pinDir), `${direction}_${ifindex}`);
