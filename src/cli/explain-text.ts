/** The walk of one packet in sentences, end by end. Pure. */
import { Limits, NameKind } from "../abi/layout.gen.js";
import type { Step, Walk } from "../dataplane/bpf/walk.js";
import { protocolName } from "../model/protocols.js";
import { escape, printable } from "../text.js";
import type { Verdict } from "./explain-agreement.js";
import type { Question } from "./explain-question.js";
import { style, type Style } from "./output.js";

export interface Namer {
  /** Endpoint number → port. */
  readonly port: (number: number) => string;
  /** Policies of the port's policy set, with their origins. */
  readonly policies: (endpoint: number) => readonly string[];
  readonly interface: (ifindex: number) => string;
  readonly name: (kind: number, number: number) => string | undefined;
  /** Endpoint id → port. */
  readonly called: (id: string) => string;
}

export interface Section {
  readonly title: string;
  readonly lines: readonly { readonly text: string; readonly tone?: "good" | "bad" }[];
}

type Line = Section["lines"][number];
const line = (text: string, tone?: "good" | "bad"): Line => ({ text, ...(tone !== undefined && { tone }) });

/** linux/bpf.h, BPF_FIB_LKUP_RET_…; 0, 7 and 8 lead somewhere. */
const ROUTES: Readonly<Record<number, string>> = {
  1: "the host's routes drop it (blackhole)",
  2: "the host's routes call it unreachable",
  3: "the host's routes prohibit it",
  4: "the host has no route there, or it is the host's own address",
  5: "forwarding is switched off on this host (sysctl net.ipv4.ip_forward, net.ipv6.conf.all.forwarding)",
  6: "the host's route needs an encapsulation that the programs leave to nobody",
};
export const leadsSomewhere = (result: number): boolean => result === 0 || result === 7 || result === 8;

export function sectionsOf(walk: Walk, question: Question, namer: Namer): readonly Section[] {
  const sections: { title: string; lines: Line[] }[] = [];
  const begin = (title: string): void => void sections.push({ title, lines: [] });
  const say = (...lines: readonly Line[]): void => void sections.at(-1)?.lines.push(...lines);
  begin(question.from.port === undefined ? "Coming in" : `At ${namer.port(question.from.port.number)}`);
  const rule = (number: number): string =>
    printable(namer.name(NameKind.NAME_RULE, number) ?? `rule ${number}, whose name is not written`);
  let judged: Extract<Step, { step: "judge" }> | undefined;
  let classes = 0;
  for (const step of walk.steps) {
    switch (step.step) {
      case "judge":
      case "free": {
        const port = namer.port(step.endpoint);
        begin(step.direction === "egress" ? `${port} sends` : `${port} receives`);
        if (step.step === "free") say(line("port security is off: no rules are asked", "bad"));
        else {
          judged = step;
          classes = 0;
          const policies = namer.policies(step.endpoint).map(escape);
          const whose = step.policySet === 0 ? "no policy applies" : policies.join(", ") || "policies without a rule";
          say(line(`${step.direction} rules asked: ${whose} (policy set ${step.policySet})`));
        }
        break;
      }
      case "class": {
        const remote = judged?.direction === "egress" ? question.to.address : question.from.address;
        const text = printable(namer.name(NameKind.NAME_CLASS, step.number) ?? `class ${step.number}`);
        say(
          line(`${classes++ === 0 ? `${remote} is` : "and"} ${text}${step.by === "prefix" ? " (by its prefix)" : ""}`),
        );
        break;
      }
      case "plane": {
        const tier = `tier ${step.plane}`;
        if (step.rule === 0 && step.action === "pass") say(line(`${tier}: no rule decides: on to the next tier`));
        else if (step.rule === 0)
          say(line(`${tier}: no rule admits it`, "bad"), line(missing(question, judged), "bad"));
        else if (step.action === "pass") say(line(`${tier}: passed on to the next tier by ${rule(step.rule)}`));
        else if (step.action === "allow") say(line(`${tier}: allowed by ${rule(step.rule)}`, "good"));
        else say(line(`${tier}: denied by ${rule(step.rule)}`, "bad"));
        break;
      }
      case "to tap":
      case "to uplink":
      case "to stack":
      case "to host":
      case "route":
      case "drop":
        if (sections.at(-1)?.title !== "Then") begin("Then");
        say(...lastly(step, namer));
        break;
      case "flow":
        say(...flowLines(step, rule));
        break;
      case "log":
        say(line(`logged by ${rule(step.rule)}`));
        break;
      default:
        say(...otherLines(step, question, namer));
    }
  }
  if (walk.cut) say(line(`more than ${Limits.MAX_STEPS} steps: the last are not shown`));
  return sections.filter(({ lines }) => lines.length > 0);
}

/** What a rule would have to say. */
function missing({ protocol, destinationPort, icmp, from, to, family }: Question, judged: Step | undefined): string {
  const egress = judged?.step === "judge" && judged.direction === "egress";
  const what =
    icmp !== undefined
      ? ` type ${icmp.type} code ${icmp.code}`
      : destinationPort === 0
        ? ""
        : ` to port ${destinationPort}`;
  const where = egress ? `to ${to.address}` : `from ${from.address}`;
  return `missing: a rule for ${egress ? "egress" : "ingress"}, IPv${family}, ${protocolName(protocol)}${what}, ${where}`;
}

function flowLines(step: Extract<Step, { step: "flow" }>, rule: (number: number) => string): Line[] {
  const by = step.rule === 0 ? "" : `, let in by ${rule(step.rule)}`;
  const whose = step.host ? "this host itself has with the guest" : "is known";
  switch (step.finding) {
    case "none":
      return [line("no flow of it is known: it is judged as a first packet")];
    case "current":
      return [line(`it belongs to a flow that ${whose} (${step.state}${by}); nothing has changed since`, "good")];
    case "stale":
      return [line(`it belongs to a flow that ${whose} (${step.state}${by}); something has changed: judged again`)];
    case "renewed":
      return [line("that flow is still allowed", "good")];
    case "revoked":
      return [line("that flow is not allowed any more: it ends", "bad")];
    case "expired":
      return [line("an entry of that flow has expired: it is judged as a first packet")];
    case "other sender":
      return [
        line("a flow of these addresses is known, but with another port as the sender: judged as a first packet"),
      ];
    case "new connection":
      return [line(`the flow that is known (${step.state}) is another connection: judged as a first packet`)];
    case "busy":
      return [line("its entry is being taken away at this moment: judged as a first packet")];
  }
}

function otherLines(step: Step, { from, to }: Question, namer: Namer): Line[] {
  switch (step.step) {
    case "sender":
      return [line(`${namer.port(step.endpoint)} may send from ${from.address}`)];
    case "receiver":
      return [
        line(
          step.endpoint === 0 ? `${to.address} is of no port here` : `${to.address} is of ${namer.port(step.endpoint)}`,
        ),
      ];
    case "room": {
      const had = `${step.entries} entries${step.reclaimable > 0 ? `, of which ${step.reclaimable} have expired` : ""}`;
      return step.room
        ? [line(`the flow would be remembered, on the account of ${namer.port(step.endpoint)} (${had})`)]
        : [
            line(
              `the flow table has no room for it: ${namer.port(step.endpoint)} has ${had} (torbie flow show)`,
              "bad",
            ),
          ];
    }
    case "stateless":
      return [line("no flow is remembered: the rules are stateless")];
    case "floating":
      return [
        line(
          `${to.address} is a floating IP of ${namer.port(step.endpoint)}: it is judged as to the address that this stands for`,
        ),
      ];
    case "from host":
      return [line(step.allowed ? "what this host sends to its guests passes" : "what this host sends is refused")];
    default:
      return [];
  }
}

function lastly(step: Step, namer: Namer): Line[] {
  switch (step.step) {
    case "route":
      return leadsSomewhere(step.result)
        ? [
            line(
              `the host's route leads to ${namer.interface(step.ifindex)}${step.result === 7 ? ", whose next hop is not resolved" : ""}`,
            ),
          ]
        : [line(ROUTES[step.result] ?? `the host's routes lead nowhere (${step.result})`, "bad")];
    case "to tap":
      return [line(`straight to ${namer.port(step.endpoint)}`, "good")];
    case "to uplink":
      return [line(`off this host by ${namer.interface(step.ifindex)}`, "good")];
    case "to stack":
      return [
        line(
          step.nat
            ? step.endpoint === 0
              ? "the kernel forwards it, and its NAT puts the floating IP back that was asked (torbie_services)"
              : `the kernel's NAT brings it to ${namer.port(step.endpoint)}, or back there (torbie_services)`
            : step.endpoint === 0
              ? "the kernel forwards it: the interface is no uplink of ours, or the next hop is to be resolved first"
              : `the kernel delivers it to ${namer.port(step.endpoint)}: it is larger than the tap's MTU, or its hop limit is up`,
          "good",
        ),
      ];
    case "to host":
      return [line("to this host itself", "good")];
    case "drop":
      return [line(`dropped: ${step.reason}. ${step.sentence}`, "bad")];
    default:
      return [];
  }
}

/** "delivered to tap1", "dropped at tap1: POLICY_INGRESS". */
export function verdictText(verdict: Verdict, namer: Pick<Namer, "called">): string {
  switch (verdict.what) {
    case "drop":
      return `dropped${verdict.endpoint === undefined ? "" : ` at ${namer.called(verdict.endpoint)}`}: ${verdict.reason}`;
    case "deliver":
      return `delivered to ${namer.called(verdict.endpoint)}`;
    case "forward":
      return "leaves this host";
    case "host":
      return "goes to this host itself";
    case "stack":
      return "goes to the kernel, which answers or divides it";
  }
}

export function render(sections: readonly Section[], colours: boolean): string {
  const tones: Style = style(colours);
  return sections
    .map(({ title, lines }) =>
      [
        tones.bold(escape(title)),
        ...lines.map(({ text, tone }) => `  ${tone === undefined ? text : tones[tone](text)}`),
        "",
      ].join("\n"),
    )
    .join("\n");
}
