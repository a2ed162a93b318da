/** Where the built objects are, from src/ as from dist/. */
import { fileURLToPath } from "node:url";

export const built = (name: string): string => fileURLToPath(new URL(`../../../build/${name}`, import.meta.url));
/** What may be attached, the best first: the first that the kernel takes is. */
export const OBJECTS: readonly string[] = ["tap-modern.bpf.o", "tap.bpf.o"].map(built);
