/**
 * `explain` where iptables enforces: no packet can be run through its rules, so the chains and sets that stand in the kernel are read back
 * and walked (walk-rules.ts). What the datastore says is asked of the evaluator, as with the programs.
 */
import { servedOf } from "../agent/wire/served.js";
import { Compiler } from "../compile/compiler.js";
import type { Interfaces } from "../dataplane/backend.js";
import { inventoryOf } from "../dataplane/iptables/inventory.js";
import { bitsOf } from "../dataplane/iptables/types.js";
import { walkRules, type Hook, type RulesWalk } from "../dataplane/iptables/walk-rules.js";
import type { Link, Route } from "../links/types.js";
import { addressToPrefix, contains, prefixLength } from "../model/cidr.js";
import { DeltaBuilder } from "../model/delta.js";
import { METADATA_ADDRESS, METADATA_PORT } from "../model/services.js";
import type { Address, Mac, Model } from "../model/types.js";
import { CommandError, EXIT, type Invocation } from "./command.js";
import type { KernelState, RulesView } from "./context.js";
import { heldOf, type Verdict } from "./explain-agreement.js";
import { frameOf } from "./explain-frame.js";
import type { Answer } from "./explain-kernel.js";
import { questionOf, type Question } from "./explain-question.js";
import { callIt, portsOf, type Port } from "./ports.js";

export interface RulesAnswer extends Answer {
  readonly walk: RulesWalk;
  /** Where the kernel's routes lead; absent: it ends at this host. */
  readonly out?: string;
  /** What NAT makes of the destination, a floating IP. */
  readonly internal?: Address;
}

const ELSEWHERE = "02:00:00:00:00:01" as Mac;

/** @throws CommandError, UsageError, DataplaneError FOREIGN_RULE */
export async function askRules(
  { context, flags, config }: Pick<Invocation, "context" | "flags" | "config">,
  rules: RulesView,
  interfaces: ReadonlyMap<number, string>,
): Promise<RulesAnswer> {
  const settings = config().config;
  const ports = portsOf(rules.endpoints(), interfaces);
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
  const { family, from, to, fromHost } = question;
  const tap = (fromHost ? undefined : from.port) ?? to.port;
  const link = links.find(({ ifindex }) => ifindex === tap?.ifindex);
  if (tap === undefined || link === undefined)
    throw new CommandError(EXIT.absent, "NO_TAP", `the interface of ${tap?.workload ?? "the port"} is not there`);
  const own = from.port?.sources.find(({ prefix }) => prefix === addressToPrefix(from.address))?.mac;
  const inward = !fromHost && from.port !== undefined;
  const sourceMac = inward ? (own ?? from.port?.mac ?? ELSEWHERE) : ELSEWHERE;
  const frame = frameOf({
    ...question,
    source: from.address,
    destination: to.address,
    sourceMac,
    destinationMac: inward ? link.mac : (to.port?.mac ?? ELSEWHERE),
  });
  const at = inward ? { tap: link.name } : fromHost ? { host: true as const, tap: link.name } : { uplink: "uplink" };
  const served = servedOf(settings);
  const scene = {
    links,
    uplinks: ["uplink"],
    hostAddresses,
    unreachable: new Set<never>(),
    hostToGuest: settings.hostToGuest,
    served,
    announcers: new Map<never, never>(),
    held: heldOf(context.readStatus(settings.runDir)),
  };
  const ends = hostAddresses.has(to.address) || isMetadata(question, served.metadata);
  const standing = await rules.standing(family);
  const internal = standing.floating.get(to.address) as Address | undefined;
  const destination = internal ?? to.address;
  const out = ends ? undefined : leads(await context.routes(settings.routeProtocol), destination, interfaces);
  const hooks: Hook[] = fromHost ? ["OUTPUT"] : ["PREROUTING", ends ? "INPUT" : "FORWARD"];
  const walk = walkRules(
    standing,
    {
      ...question,
      source: from.address,
      destination,
      ...(internal === undefined ? {} : { asked: to.address }),
      bytes: frame.subarray(14),
      ...(fromHost ? {} : { in: inward ? link.name : "uplink" }),
      ...(ends ? {} : { out: out ?? "uplink" }),
    },
    hooks,
    inward ? sourceMac : undefined,
    bitsOf(settings.markShift).source,
  );
  const receiver = ports.find((port) => port.interface !== "" && port.interface === out);
  return {
    question,
    ports,
    sent: { at, frame },
    verdict: verdictOf(walk, { ends, receiver, sender: inward ? from.port : undefined, called: ports }),
    scene,
    walk,
    ...(internal === undefined ? {} : { internal }),
    ...(out === undefined ? {} : { out }),
  };
}

const isMetadata = ({ family, to, protocol, destinationPort }: Question, served: readonly number[]): boolean =>
  served.includes(family) &&
  protocol === 6 &&
  destinationPort === METADATA_PORT &&
  to.address === METADATA_ADDRESS[family];

/** The tap that our longest route leads to. */
function leads(routes: readonly Route[], to: Address, interfaces: ReadonlyMap<number, string>): string | undefined {
  const [best] = routes
    .filter(({ prefix }) => contains(prefix, to))
    .sort((a, b) => prefixLength(b.prefix) - prefixLength(a.prefix) || a.metric - b.metric);
  return interfaces.get(best?.links[0] ?? 0);
}

interface Ends {
  readonly ends: boolean;
  readonly receiver: Port | undefined;
  readonly sender: Port | undefined;
  readonly called: readonly Port[];
}

function verdictOf(walk: RulesWalk, { ends, receiver, sender, called }: Ends): Verdict {
  if (walk.verdict === "drop") {
    const chain = walk.passed.at(-1)?.chain ?? "";
    const at =
      called.find((port) => port.interface !== "" && chain.endsWith(`-${port.interface}`)) ?? sender ?? receiver;
    return {
      what: "drop",
      reason: walk.reason ?? "MALFORMED",
      ...(at === undefined ? {} : { endpoint: at.id as never }),
    };
  }
  if (ends) return { what: "host" };
  return receiver === undefined ? { what: "forward" } : { what: "deliver", endpoint: receiver.id as never };
}

/** A drop's reason is as fine as the chain it happened in: what is compared is whether it passes, and to whom. */
export function agreeRules(kernel: Verdict, datastore: Verdict): boolean {
  if (kernel.what === "drop" || datastore.what === "drop") return kernel.what === datastore.what;
  if (datastore.what === "stack") return kernel.what === "deliver" || kernel.what === "forward";
  if (kernel.what === "deliver" && datastore.what === "deliver") return kernel.endpoint === datastore.endpoint;
  return kernel.what === datastore.what;
}

/** Ports among these whose rules as the agent wrote them last are not what the datastore says. */
export function differences(
  state: Pick<KernelState, "policy">,
  ends: readonly Port[],
  model: Model,
  links: readonly Link[],
): string[] {
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
