/** Who plays in the demo: the guests and groups that the directory names, and what to try between them. Pure. */
import { contains, family, prefixLength, prefixOf, prefixToAddress } from "../model/cidr.js";
import { evaluate, parseSelector } from "../model/selector.js";
import type { LocalWorkload, Model, Policy, Prefix } from "../model/types.js";
import type { GuestSpec } from "./world/guest.js";

const TCP = 6;
/** More are not tried: the table must fit a screen. */
const MOST_PORTS = 6;
/** Where no subnet of the directory holds an address. */
const USUAL_LENGTH = { 4: 24, 6: 64 } as const;

export interface Player {
  readonly spec: GuestSpec;
  /** Names of the policies that apply to it. */
  readonly groups: readonly string[];
  /** The subnets of its addresses, in their order. */
  readonly subnets: readonly Prefix[];
}

export interface Cast {
  readonly players: readonly Player[];
  /** TCP ports that some rule names, ascending: every guest answers on all of them, so that only policy decides. */
  readonly ports: readonly number[];
}

/** In the order of the directory. */
export function castOf(model: Model): Cast {
  const ports = portsOf(model);
  return { players: [...model.locals.values()].map((local) => playerOf(model, local, ports)), ports };
}

/** TCP ports that allow rules of the model name one by one. */
export function portsOf(model: Model): number[] {
  const rules = [...model.policies.values()].flatMap((policy) => [...policy.ingress, ...policy.egress]);
  const ports = rules
    .filter((rule) => rule.protocol === TCP)
    .flatMap((rule) => rule.destination.ports.flatMap(({ first, last }) => (first === last ? [first] : [first, last])))
    .filter((port) => port > 0);
  return [...new Set(ports)].sort((a, b) => a - b).slice(0, MOST_PORTS);
}

export function policiesOf(model: Model, local: LocalWorkload): Policy[] {
  return [...model.policies.values()].filter((policy) => evaluate(parseSelector(policy.selector), local.labels.labels));
}

function playerOf(model: Model, local: LocalWorkload, ports: readonly number[]): Player {
  const subnets = local.fixed.map((fixed) => subnetOf(model, fixed));
  const { v4, v6 } = local.gateways;
  return {
    spec: {
      name: local.workload,
      tap: local.interfaceName,
      mac: local.mac,
      addresses: local.fixed.map((fixed, i) => `${prefixToAddress(fixed)}/${prefixLength(subnets[i] ?? fixed)}`),
      gateways: [v4, v6].filter((gateway) => gateway !== undefined),
      ports: ports.map((port) => `tcp/${port}`),
    },
    groups: policiesOf(model, local).map((policy) => policy.name),
    subnets,
  };
}

function subnetOf(model: Model, fixed: Prefix): Prefix {
  const known = [...model.subnets.values()].find(({ cidr }) => contains(cidr, fixed));
  const address = prefixToAddress(fixed);
  return known?.cidr ?? prefixOf(address, USUAL_LENGTH[family(address)]);
}
