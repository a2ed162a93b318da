/** What is in a directory now: its YAML files, told apart by stat, and their text. */
import { constants } from "node:fs";
import { lstat, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** A policy directory for one host; whoever needs more has more than one file. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** Name and a signature that differs whenever the content may. */
export interface FileStat {
  readonly name: string;
  readonly signature: string;
}

/** *.yaml and *.yml, sorted by name (code units); hidden ones are editors'. Throws what readdir throws (ENOENT, ENOTDIR …). */
export async function listFiles(directory: string): Promise<readonly FileStat[]> {
  const names = (await readdir(directory)).filter(isYamlName).sort();
  return Promise.all(names.map(async (name) => ({ name, signature: await signatureOf(join(directory, name)) })));
}

export function isYamlName(name: string): boolean {
  return /\.ya?ml$/.test(name) && !name.startsWith(".");
}

/** The text of a file, or why there is none. Never blocks on a pipe, never reads more than MAX_FILE_BYTES. */
export async function readText(
  path: string,
): Promise<{ readonly text: string } | { readonly code: string; readonly what: string }> {
  let file;
  try {
    // O_NONBLOCK: a FIFO without a writer must not hold us up.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const info = await file.stat();
    if (!info.isFile()) return { code: "NOT_A_FILE", what: "it is no regular file" };
    if (info.size > MAX_FILE_BYTES) return tooLarge(info.size);
    const bytes = Buffer.alloc(Math.min(info.size, MAX_FILE_BYTES) + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
      length += bytesRead;
      if (bytesRead === 0) break;
      if (length === bytes.length) return { code: "CHANGING", what: "it grew while it was read" };
    }
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length)) };
  } catch (error) {
    return { code: "UNREADABLE", what: `it cannot be read: ${error instanceof Error ? error.message : String(error)}` };
  } finally {
    await file?.close();
  }
}

function tooLarge(size: number): { readonly code: string; readonly what: string } {
  return { code: "TOO_LARGE", what: `it has ${size} bytes; ${MAX_FILE_BYTES} are the most` };
}

async function signatureOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(":");
  } catch (error) {
    // A dangling or circular link: read again when the link changes.
    const link = await lstat(path, { bigint: true }).catch(() => undefined);
    return `${(error as NodeJS.ErrnoException).code ?? "error"}:${link?.ctimeNs ?? "gone"}`;
  }
}
