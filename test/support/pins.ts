/** What is pinned for an agent. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Inode numbers of everything below: a pin that was made anew has another. */
export function pins(directory: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) Object.assign(found, pins(path));
    else found[path] = statSync(path).ino;
  }
  return found;
}
