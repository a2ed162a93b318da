/** libbpf-ts: libbpf for Node. Start with BpfObject.open. */
export type * from "./api.js";
export { readBtf } from "./btf.js";
export { clsact, type ClsactPlace } from "./clsact.js";
export { possibleCpus } from "./cpus.js";
export { BpfError } from "./errors.js";
export { features } from "./features.js";
export { BpfLink, type LinkInfo } from "./link.js";
export { BpfMap, type MapCreation } from "./map.js";
export { mapTypeName } from "./map-types.js";
export { BpfObject } from "./object.js";
export { BpfProgram } from "./program.js";
export { RingBuffer } from "./ring-buffer.js";
export { tcx, type TcxPlace } from "./tcx.js";
