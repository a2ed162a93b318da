/** Certificates of an authority that lives as long as a test, made with openssl. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Signed {
  readonly cert: string;
  readonly key: string;
}

export class Authority {
  private serial = 1;

  private constructor(
    private readonly directory: string,
    private readonly name: string,
    readonly cert: string,
    private readonly key: string,
  ) {}

  /** Files are made in `directory` and begin with `name`. */
  static async make(directory: string, name: string): Promise<Authority> {
    const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
    await run("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", `/CN=${name}`, "-keyout", key, "-out", cert],
    ]);
    return new Authority(directory, name, cert, key);
  }

  /** For servers and clients at 127.0.0.1; `days` negative: it has expired. */
  async sign(common: string, days = 2): Promise<Signed> {
    const base = join(this.directory, `${this.name}-${common}`);
    const [cert, key, request, extensions] = [`${base}.pem`, `${base}.key`, `${base}.csr`, `${base}.ext`];
    await writeFile(extensions, "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
    await run("openssl", [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", `/CN=${common}`, "-keyout", key, "-out", request],
    ]);
    await run("openssl", [
      ...["x509", "-req", "-in", request, "-CA", this.cert, "-CAkey", this.key, "-set_serial", String(this.serial++)],
      ...["-days", String(days), "-extfile", extensions, "-out", cert],
    ]);
    return { cert, key };
  }
}
