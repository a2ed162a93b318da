import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const libbpf = fileURLToPath(new URL("./native/lib/index.ts", import.meta.url));

/** Tests of the pure stages run side by side; those that hold namespaces, taps and maps run one file at a time. */
export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias: { "#libbpf": libbpf } },
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          testTimeout: 20_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        resolve: { alias: { "#libbpf": libbpf } },
        test: {
          name: "kernel",
          include: ["test/**/*.test.ts", "native/test/**/*.test.ts"],
          exclude: ["test/unit/**", "test/guest/**", "**/node_modules/**"],
          pool: "forks",
          fileParallelism: false,
          maxWorkers: 1,
          testTimeout: 60_000,
          expect: { poll: { timeout: 10_000 } },
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
