/** Where the built objects are. */
import { inPackage } from "../../root.js";

export const built = (name: string): string => inPackage(`build/${name}`);
/** What may be attached, the best first: the first that the kernel takes is. */
export const OBJECTS: readonly string[] = ["tap-modern.bpf.o", "tap.bpf.o"].map(built);
