import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `make guest-test`: apart from the other tests, since it wants qemu and a kernel that is not this machine's. */
export default defineConfig({
  resolve: { alias: { "#libbpf": fileURLToPath(new URL("../../native/lib/index.ts", import.meta.url)) } },
  test: {
    include: ["test/guest/**/*.test.ts"],
    pool: "forks",
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 10_000 } },
  },
});
