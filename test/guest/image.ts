/** What a guest boots: the kernel and the initramfs of test/vm, and after that a second one with the guest's own files. */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** From the repository's root, where make starts the tests and the matrix of VMs, which is bundled. */
const KERNELS = "build/vm/kernels";
const OUT = "build/guest";

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
}

const which = (program: string): string =>
  execFileSync("sh", ["-c", 'command -v "$1"', "sh", program], { encoding: "utf8" }).trim();

/** The files that the dynamic linker wants for a program: "/lib64/ld-linux-x86-64.so.2". */
function libraries(program: string): string[] {
  const said = execFileSync("ldd", [program], { encoding: "utf8" });
  return [...said.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
}

export interface Contents {
  /** A name of test/vm/kernels. */
  readonly kernel: string;
  /** Of this machine, by name, as they are called in the guest too. */
  readonly own: readonly string[];
  /** Of this machine, by name; in the guest "real-" comes before it, since busybox has many of the same. */
  readonly programs: readonly string[];
  /** Of the kernel, with what they depend on, in /extra in the order in which they load. */
  readonly modules: readonly string[];
  /** Of this machine, by path. */
  readonly files: readonly string[];
}
const NOTHING_MORE = { kernel: process.env["GUEST_KERNEL"] ?? "5.10", own: [], programs: [], modules: [], files: [] };

/** What debugfs(8) says of a kernel's modules. */
const debugfs = (image: string, command: string): string =>
  execFileSync("debugfs", ["-R", command, image], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });

/** Paths of module files below lib/modules/RELEASE, each after what it depends on. Throws when the kernel lacks one. */
function closure(names: readonly string[], image: string, release: string): string[] {
  const lines = debugfs(image, `cat /${release}/modules.dep`).split("\n");
  const found = names.flatMap((name) => {
    const line = lines.find((one) => one.split(":")[0]?.endsWith(`/${name}.ko`));
    if (line === undefined) throw new Error(`kernel ${release} has no module ${name}`);
    const [own = "", ...needs] = line.split(/:? /);
    return [...needs.reverse(), own.replace(/:$/, "")];
  });
  return [...new Set(found)];
}

/**
 * Makes it in build/guest, as `name`, of a kernel that has been fetched.
 * @throws Error when the kernel is not there
 */
export function makeImage(name: string, contents: Partial<Contents> = {}): Image {
  const all: Contents = { ...NOTHING_MORE, ...contents };
  const directory = join(KERNELS, all.kernel);
  const modules = join(directory, "modules.ext4");
  const work = mkdtempSync(join(tmpdir(), "tb-guest-"));
  try {
    const programs = {
      probe: "build/probe",
      ...Object.fromEntries(all.own.map((program) => [program, which(program)])),
      ...Object.fromEntries(all.programs.map((program) => [`real-${program}`, which(program)])),
    };
    mkdirSync(join(work, "bin"));
    for (const [name, path] of Object.entries(programs)) {
      cpSync(path, join(work, "bin", name), { dereference: true });
      for (const library of libraries(path)) {
        mkdirSync(join(work, dirname(library)), { recursive: true });
        cpSync(library, join(work, library), { dereference: true });
      }
    }
    const release = readFileSync(join(directory, "release"), "utf8").trim();
    mkdirSync(join(work, "extra"));
    closure(all.modules, modules, release).forEach((path, i) =>
      debugfs(modules, `dump /${release}/${path} ${join(work, "extra", `${100 + i}.ko`)}`),
    );
    for (const file of all.files) cpSync(file, join(work, file), { recursive: true });
    for (const file of ["guest-init", "dhcp-script"]) copyFileSync(join("test/guest", file), join(work, file));
    chmodSync(join(work, "dhcp-script"), 0o755);
    const files = execFileSync("find", ["."], { cwd: work });
    const own = execFileSync("cpio", ["--quiet", "-o", "-H", "newc", "-R", "0:0"], {
      cwd: work,
      input: files,
      maxBuffer: 64 << 20,
    });
    mkdirSync(OUT, { recursive: true });
    const initramfs = join(OUT, name);
    // The kernel unpacks one after the other, compressed or not, each beginning at a multiple of four.
    const first = readFileSync(join(directory, "initramfs.gz"));
    writeFileSync(initramfs, Buffer.concat([first, Buffer.alloc((4 - (first.length % 4)) % 4), own]));
    return { kernel: join(directory, "vmlinuz"), initramfs };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
