/** Which endpoint a person means by PORT. Pure. */
import { suggest } from "../config/suggest.js";
import type { PinnedEndpoint } from "../dataplane/bpf/read.js";
import { splitEndpointName } from "../model/keys.js";
import { escape, quote } from "../text.js";
import { CommandError, EXIT } from "./command.js";

export interface Port extends Omit<PinnedEndpoint, "id"> {
  /** "<namespace>/<name>"; "" when its name was not written yet. */
  readonly id: string;
  /** "" when the tap is not there. */
  readonly interface: string;
  /** From the id; "" when that is not in four parts. */
  readonly workload: string;
  /** Neutron's port id, or the endpoint part of the key. */
  readonly port: string;
}

export function portsOf(
  endpoints: readonly PinnedEndpoint[],
  interfaces: ReadonlyMap<number, string>,
): readonly Port[] {
  return endpoints.map((endpoint) => {
    const { id = "" } = endpoint;
    const parts = splitEndpointName(id.slice(id.indexOf("/") + 1));
    return {
      ...endpoint,
      id,
      interface: interfaces.get(endpoint.ifindex) ?? "",
      workload: parts?.workload ?? "",
      port: parts?.endpoint ?? "",
    };
  });
}

const namesOf = (port: Port): readonly string[] =>
  [port.interface, port.port, port.workload, port.id, port.id.slice(port.id.indexOf("/") + 1)].filter(
    (name) => name !== "",
  );

/** What to call it in a line of output. */
export const callIt = (port: Port): string => port.interface || port.workload || port.id || `endpoint ${port.number}`;

/**
 * The one endpoint whose interface, port id, workload or id is `word`, or begins with it.
 * @throws CommandError absent with suggestions, usage when several fit
 */
export function findPort(ports: readonly Port[], word: string): Port {
  for (const fits of [(name: string) => name === word, (name: string) => word !== "" && name.startsWith(word)]) {
    const found = ports.filter((port) => namesOf(port).some(fits));
    if (found.length === 1) return found[0] as Port;
    if (found.length > 1) {
      const names = found.slice(0, 5).map((port) => escape(port.interface || port.port || port.id));
      throw new CommandError(
        EXIT.usage,
        "AMBIGUOUS_PORT",
        `${quote(word, 80)} fits ${found.length} ports: ${names.join(", ")}${found.length > 5 ? ", …" : ""}; say more of the name`,
      );
    }
  }
  const names = ports.flatMap((port) => [port.interface, port.workload, port.port].filter((name) => name !== ""));
  const meant = suggest(word, [...new Set(names)], 3).map(escape);
  const hint =
    meant.length > 0 ? `; did you mean ${meant.join(" or ")}?` : ports.length === 0 ? "; none is enforced here" : "";
  throw new CommandError(
    EXIT.absent,
    "NO_SUCH_PORT",
    `no port ${quote(word, 80)} on this host${hint} (torbie endpoint list)`,
  );
}
