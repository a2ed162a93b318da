/** libbpf-ts: libbpf for Node. Start with BpfObject.open. */
export type * from "./api.js";
export { clsact, type ClsactPlace } from "./clsact.js";
export { possibleCpus } from "./cpus.js";
export { BpfError } from "./errors.js";
export { BpfMap, type MapCreation } from "./map.js";
export { mapTypeName } from "./map-types.js";
export { BpfObject } from "./object.js";
export { BpfProgram } from "./program.js";
