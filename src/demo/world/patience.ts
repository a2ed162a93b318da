/** How many times as long as on a machine of its own things may take: VM_PATIENCE, which says so under emulation (test/vm). */
export const PATIENCE = Number(process.env["VM_PATIENCE"] ?? "1");
