/** Which flows a command is about: flags to a predicate. Pure. */
import { contains, parsePrefix } from "../model/cidr.js";
import { parseProtocol } from "../model/protocols.js";
import { FlowStateNames } from "../abi/layout.gen.js";
import { stateName } from "../dataplane/bpf/decode-map.js";
import type { PinnedFlow } from "../dataplane/bpf/read-flows.js";
import { quote } from "../text.js";
import { UsageError, type FlagRow, type Invocation } from "./command.js";
import { oneOf } from "./count.js";
import { findPort, type Port } from "./ports.js";

export const FILTER_FLAGS: readonly FlagRow[] = [
  { name: "port", value: "PORT", doc: "Only flows of this port; as for endpoint show." },
  { name: "address", value: "ADDRESS", doc: "Only flows with this address, or one of this prefix, at either end." },
  { name: "protocol", value: "NAME", doc: "Only flows of this protocol: tcp, udp, icmp, … or a number." },
  { name: "state", value: "STATE", doc: 'Only flows in this state: established, "syn sent", replied, expired, …' },
];

const STATES = [
  ...Object.keys(FlowStateNames)
    .map((number) => stateName(Number(number)))
    .filter((name) => name !== "dead" && name !== "states"),
  "expired",
];

/** @throws UsageError, CommandError absent (no such port) */
export function flowFilter(
  invocation: Pick<Invocation, "flags">,
  command: string,
  ports: readonly Port[],
): (flow: PinnedFlow) => boolean {
  const { flags } = invocation;
  const tests: ((flow: PinnedFlow) => boolean)[] = [];
  const port = flags.get("port");
  if (port !== undefined) {
    const { number } = findPort(ports, port);
    tests.push(({ from, to }) => from.endpoint === number || to.endpoint === number);
  }
  const address = flags.get("address");
  if (address !== undefined) {
    const prefix = parsePrefix(address);
    if (prefix === undefined)
      throw new UsageError(`torbie ${command}: --address: ${quote(address, 60)} is neither an address nor a prefix`);
    tests.push(({ from, to }) => contains(prefix, from.address) || contains(prefix, to.address));
  }
  const protocol = flags.get("protocol");
  if (protocol !== undefined) {
    const number = parseProtocol(protocol);
    if (number === undefined)
      throw new UsageError(`torbie ${command}: --protocol: no protocol is called ${quote(protocol, 40)}`);
    tests.push((flow) => flow.protocol === number);
  }
  const state = oneOf(invocation, command, "state", STATES);
  if (state !== undefined) tests.push((flow) => flow.state === state);
  return (flow) => tests.every((test) => test(flow));
}
