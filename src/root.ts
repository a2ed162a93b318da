/** Where this package lies: what it runs, and what was built for it, is found from there. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The nearest directory with a package.json above this file, which may be src/, dist/ or a bundle of either. */
function findRoot(): string {
  for (let directory = new URL(".", import.meta.url); ; directory = new URL("..", directory)) {
    if (existsSync(new URL("package.json", directory))) return fileURLToPath(directory);
    if (directory.pathname === "/") throw new Error(`no package.json above ${import.meta.url}`);
  }
}

const ROOT = findRoot();

/** @param path relative to the package's directory */
export const inPackage = (path: string): string => ROOT + path;
