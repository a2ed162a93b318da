/**
 * `explain` where iptables enforces: no packet can be run through its rules, so the evaluator answers, and what the agent wrote into
 * iptables for both ends is compared with what the datastore says.
 */
import { servedOf } from "../agent/wire/services.js";
import { Compiler } from "../compile/compiler.js";
import type { Interfaces } from "../dataplane/backend.js";
import { inventoryOf } from "../dataplane/iptables/inventory.js";
import type { Link } from "../links/types.js";
import { addressToPrefix } from "../model/cidr.js";
import { DeltaBuilder } from "../model/delta.js";
import type { Mac, Model } from "../model/types.js";
import { CommandError, EXIT, type Invocation } from "./command.js";
import type { KernelState } from "./context.js";
import { evaluate, verdictOfOutcome } from "./explain-agreement.js";
import { frameOf } from "./explain-frame.js";
import type { Answer } from "./explain-kernel.js";
import { questionOf } from "./explain-question.js";
import { callIt, portsOf, type Port } from "./ports.js";

export interface RulesAnswer extends Answer {
  /** Ports whose rules as written are not what the datastore says. */
  readonly different: readonly string[];
  /** The rule that decided, where one did. */
  readonly rule?: string;
}

const ELSEWHERE = "02:00:00:00:00:01" as Mac;

/** @throws CommandError, UsageError */
export async function askRules(
  { context, flags, config }: Pick<Invocation, "context" | "flags" | "config">,
  state: KernelState,
  interfaces: ReadonlyMap<number, string>,
  model: Model,
): Promise<RulesAnswer> {
  const settings = config().config;
  const ports = portsOf(state.endpoints(), interfaces);
  const hostAddresses = context.hostAddresses();
  const question = questionOf(
    { flags },
    {
      ports,
      addresses: hostAddresses,
      ownerOf: (address) =>
        ports.find(({ sources }) => sources.some(({ prefix }) => prefix === addressToPrefix(address)))?.number,
    },
  );
  const links = await context.links();
  const { from, to, fromHost } = question;
  const tap = (fromHost ? undefined : from.port) ?? to.port;
  const link = links.find(({ ifindex }) => ifindex === tap?.ifindex);
  if (tap === undefined || link === undefined)
    throw new CommandError(EXIT.absent, "NO_TAP", `the interface of ${tap?.workload ?? "the port"} is not there`);
  const own = from.port?.sources.find(({ prefix }) => prefix === addressToPrefix(from.address))?.mac;
  const inward = !fromHost && from.port !== undefined;
  const frame = frameOf({
    ...question,
    source: from.address,
    destination: to.address,
    sourceMac: inward ? (own ?? from.port?.mac ?? ELSEWHERE) : ELSEWHERE,
    destinationMac: inward ? link.mac : (to.port?.mac ?? ELSEWHERE),
  });
  const at = inward ? { tap: link.name } : fromHost ? { host: true as const, tap: link.name } : { uplink: "uplink" };
  const scene = {
    links,
    uplinks: ["uplink"],
    hostAddresses,
    unreachable: new Set<never>(),
    hostToGuest: settings.hostToGuest,
    served: servedOf(settings),
    announcers: new Map<never, never>(),
  };
  const outcome = evaluate(model, scene, { at, frame });
  return {
    question,
    ports,
    sent: { at, frame },
    verdict: verdictOfOutcome(outcome),
    scene,
    different: differences(
      state,
      [from.port, to.port].filter((port) => port !== undefined),
      model,
      links,
    ),
    ...(outcome.rule !== undefined && { rule: outcome.rule }),
  };
}

function differences(state: KernelState, ends: readonly Port[], model: Model, links: readonly Link[]): string[] {
  const compiler = new Compiler();
  compiler.apply(model, new DeltaBuilder());
  const taps: Interfaces["taps"] = new Map(links.map((link) => [link.name, link]));
  const { endpoints, policies } = inventoryOf(compiler.desired, { taps });
  return ends.flatMap((port) => {
    const wanted = endpoints.find(({ id }) => id === port.id);
    const policy = policies.find(({ set }) => set === wanted?.policySet);
    const now = text(port, state.policy(port.number));
    return wanted !== undefined && text(wanted, policy) === now ? [] : [callIt(port)];
  });
}

type Written = Pick<Port, "mac" | "adminUp" | "portSecurity" | "blocked" | "sources">;
interface PlaneTexts {
  readonly end: string;
  readonly rules: readonly { readonly text?: string }[];
}
interface RuleTexts {
  readonly ingress: readonly PlaneTexts[];
  readonly egress: readonly PlaneTexts[];
}

/** What is enforced on a port, without numbers that may be others. */
function text({ mac, adminUp, portSecurity, blocked, sources }: Written, policy: RuleTexts | undefined): string {
  const side = (planes: RuleTexts["ingress"] = []) =>
    planes.map(({ end, rules }) => [end, rules.map((rule) => rule.text)]);
  const owned = sources.map((source) => `${source.prefix} ${source.mac ?? ""}`).sort();
  return JSON.stringify([mac, adminUp, portSecurity, blocked, owned, side(policy?.ingress), side(policy?.egress)]);
}
