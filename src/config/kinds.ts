/** The types that a setting may have: how text and YAML become a value, and how a value is printed. Pure. */
import { isIPv4, isIPv6 } from "node:net";
import { resolve } from "node:path";
import { quote } from "../text.js";

export interface Kind<T> {
  /** For help and docs: "integer 0..16", "auto | bpf". */
  readonly name: string;
  /** From a flag or the environment. Throws a plain Error that says what is expected. */
  readonly parse: (text: string) => T;
  /** From a YAML file; only what differs from `parse`. */
  readonly fromYaml: (value: unknown) => T;
  readonly format: (value: T) => string;
}

const fail = (expected: string, got: unknown): never => {
  throw new Error(
    `expected ${expected}, got ${quote(typeof got === "string" ? got : (JSON.stringify(got) ?? String(got)))}`,
  );
};

/** A YAML scalar as text, or a complaint: numbers are taken as they are written in decimal. */
function scalar(expected: string, value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return fail(expected, value);
}

/** Text that `accept` admits; `accept` returns what was expected instead, or undefined. */
export function text(name: string, accept: (value: string) => string | undefined = () => undefined): Kind<string> {
  const parse = (value: string): string => {
    // eslint-disable-next-line no-control-regex -- control characters are exactly what must not get in
    if (value === "" || /[\u0000-\u001f\u007f]/.test(value)) return fail(`${name} without control characters`, value);
    const expected = accept(value);
    return expected === undefined ? value : fail(expected, value);
  };
  return { name, parse, fromYaml: (value) => parse(scalar(name, value)), format: (value) => value };
}

const absolute = text("path", (value) =>
  value.startsWith("/") && !value.split("/").includes("..") ? undefined : "an absolute path without '..'",
);

/** Absolute; a relative one on the command line or in the environment is taken from the working directory. */
export const path: Kind<string> = {
  ...absolute,
  parse: (value) => absolute.parse(value === "" ? value : resolve(value)),
  fromYaml: (value) => absolute.fromYaml(value),
};

export function integer(min: number, max: number): Kind<number> {
  const name = `integer ${min}..${max}`;
  const parse = (value: string): number => {
    if (!/^-?\d{1,15}$/.test(value)) return fail(name, value);
    const number = Number(value);
    return number >= min && number <= max ? number : fail(name, value);
  };
  return { name, parse, fromYaml: (value) => parse(scalar(name, value)), format: String };
}

const YES = new Set(["true", "on", "yes", "1"]);
const NO = new Set(["false", "off", "no", "0"]);

export const flag: Kind<boolean> = {
  name: "true | false",
  parse: (value) => (YES.has(value) ? true : NO.has(value) ? false : fail("true or false", value)),
  fromYaml: (value) => (typeof value === "boolean" ? value : flag.parse(scalar("true or false", value))),
  format: String,
};

/** `rejected` values are known words that this version can't do: they get their own sentence. */
export function choice<const T extends string>(
  values: readonly T[],
  rejected: Readonly<Record<string, string>> = {},
): Kind<T> {
  const name = values.join(" | ");
  const parse = (value: string): T => {
    const found = values.find((candidate) => candidate === value);
    if (found !== undefined) return found;
    const why = Object.hasOwn(rejected, value) ? rejected[value] : undefined;
    if (why !== undefined) throw new Error(why);
    return fail(`one of ${values.join(", ")}`, value);
  };
  return { name, parse, fromYaml: (value) => parse(scalar(name, value)), format: (value) => value };
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400 };

/** Whole seconds; "90", "90s", "5m", "1h", "5d". */
export function seconds(min: number, max: number): Kind<number> {
  const name = `duration ${min}s..${max}s`;
  const parse = (value: string): number => {
    const match = /^(\d{1,9})([smhd]?)$/.exec(value);
    const number = match ? Number(match[1]) * (UNITS[match[2] || "s"] ?? 1) : NaN;
    return number >= min && number <= max ? number : fail(`${name} such as 90s, 5m or 1h`, value);
  };
  return { name, parse, fromYaml: (value) => parse(scalar(name, value)), format: (value) => `${value}s` };
}

/** Comma-separated in flags and the environment, a list or such text in YAML. Duplicates vanish; "" is the empty list. */
export function list(item: Kind<string>, minimum = 0): Kind<readonly string[]> {
  const name = `list of ${item.name}`;
  const finish = (values: readonly string[]): readonly string[] => {
    if (values.length < minimum) return fail(`${name}, at least ${minimum}`, values.join(","));
    return Object.freeze([...new Set(values)]);
  };
  const parse = (value: string): readonly string[] =>
    finish(value === "" ? [] : value.split(",").map((part) => item.parse(part.trim())));
  return {
    name,
    parse,
    fromYaml: (value) =>
      Array.isArray(value) ? finish(value.map((part) => item.fromYaml(part))) : parse(scalar(name, value)),
    format: (values) => values.join(","),
  };
}

/** A word that may go into a firewall rule: what checkTapRule (src/links/ours.ts) admits. `star`: may end in "*". */
export const interfaceWord = (most: number, star: boolean): Kind<string> =>
  text(star ? "interface name or prefix*" : "interface prefix", (value) => {
    const word = star && value.endsWith("*") ? value.slice(0, -1) : value;
    return word.length <= most && /^[A-Za-z0-9_.-]+$/.test(word)
      ? undefined
      : `at most ${most} letters, digits, "_", "." or "-"${star ? ', and perhaps "*" at the end' : ""}`;
  });

/** Linux interface names: 1 to 15 bytes, no slash, space or colon (dev_valid_name, net/core/dev.c). */
export const interfaceName: Kind<string> = text("interface name", (value) =>
  Buffer.byteLength(value) <= 15 && !/[\s/:]/.test(value) && value !== "." && value !== ".."
    ? undefined
    : "an interface name (at most 15 bytes, no '/', ':' or space)",
);

/** As `item`, or nothing: "". */
export function optional(item: Kind<string>): Kind<string> {
  return {
    name: item.name,
    parse: (value) => (value === "" ? "" : item.parse(value)),
    fromYaml: (value) => (value === "" || value === null ? "" : item.fromYaml(value)),
    format: item.format,
  };
}

/** "http://host:port" or "https://…" with nothing behind; an IPv6 address in brackets. */
export const etcdEndpoint: Kind<string> = text("URL", (value) => {
  const expected = "http://host:port or https://host:port";
  if (!/^https?:\/\/[^/@?#\s]+:\d{1,5}\/?$/.test(value) || !URL.canParse(value)) return expected;
  const { port, protocol, hostname } = new URL(value);
  const usual = protocol === "https:" ? "443" : "80";
  return hostname !== "" && Number(port || usual) > 0 ? undefined : expected;
});

/** What networking-calico takes as openstack_region, so that it fits into a namespace. */
export const regionName: Kind<string> = text("region", (value) =>
  value.length <= 46 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value)
    ? undefined
    : "at most 46 lower-case letters, digits and hyphens, with no hyphen at either end",
);

/** Who serves something on this host: an address that a packet can be sent to, or "none". For IPv6 also "::": whoever listens on it. */
export const serviceAddress = (family: 4 | 6): Kind<string> =>
  text(`IPv${family} address | none`, (value) => {
    const example = family === 4 ? "127.0.0.1" : "::";
    const expected = `an IPv${family} address such as ${example}, or "none"`;
    if (value === "none" || (family === 6 && value === "::")) return undefined;
    if (!(family === 4 ? isIPv4(value) : isIPv6(value))) return expected;
    if (value === "::1") return `${expected}; the kernel lets nothing reach ::1 from an interface, "::" is any address`;
    // 0.0.0.0, multicast, link-local: of no machine in particular.
    const nobody = family === 4 ? /^(0|22[4-9]|2[3-5]\d)\.|^169\.254\./ : /^(::|ff[0-9a-f]{2}:|fe[89ab][0-9a-f]:)/i;
    return nobody.test(value) ? `${expected}; this one is no single machine's` : undefined;
  });

/** Where to listen: "127.0.0.1:9199", "[::1]:9199"; "off" is nowhere. */
export const listenAddress: Kind<string> = text("address:port | off", (value) => {
  if (value === "off") return undefined;
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) ?? [];
  const isAddress = bracketed === undefined ? isIPv4(plain ?? "") : isIPv6(bracketed);
  return isAddress && Number(port) >= 1 && Number(port) <= 65_535
    ? undefined
    : 'an address and a port such as 127.0.0.1:9199 or [::1]:9199, or "off"';
});
