/** `explain`: what becomes of a packet, and why: by the programs themselves on the live maps, and by the reference evaluator. */
import { contains } from "../model/cidr.js";
import { NameKind } from "../abi/layout.gen.js";
import type { Address, Model } from "../model/types.js";
import { escape } from "../text.js";
import { CommandError, EXIT, type Command, type Invocation } from "./command.js";
import type { RulesView } from "./context.js";
import { STATE_SETTINGS, withMaps } from "./endpoint.js";
import { agree, evaluate, verdictOfOutcome, type Verdict } from "./explain-agreement.js";
import { askKernel, type Answer, type KernelAnswer } from "./explain-kernel.js";
import { QUESTION_FLAGS, questionText } from "./explain-question.js";
import { agreeRules, askRules, differences, type RulesAnswer } from "./explain-rules.js";
import { policiesOfChains, rulesSection } from "./explain-rules-text.js";
import { render, sectionsOf, verdictText, type Namer, type Section } from "./explain-text.js";
import { json, style } from "./output.js";
import { policyNames } from "../dataplane/bpf/policy-names.js";
import { callIt, type Port } from "./ports.js";
import type { DatastoreModel } from "./read-model.js";

const DATASTORE_SETTINGS = [
  "hostname",
  "datastore",
  "policy-dir",
  "etcd-endpoints",
  "etcd-ca",
  "etcd-cert",
  "etcd-key",
  "etcd-username",
  "etcd-password-file",
  "region",
  "mark-shift",
  "route-protocol",
];

/** What the datastore says, where it was asked and could be. */
type Datastore = DatastoreModel | { readonly why: string };

interface Explanation {
  readonly answer: Answer;
  readonly sections: readonly Section[];
  /** Of the kernel. */
  readonly verdict: Verdict;
  readonly datastore: { readonly description: string; readonly verdict: Verdict; readonly rule: string | null } | null;
  /** Null: nothing to compare. */
  readonly agrees: boolean | null;
  /** What is said first where they disagree. */
  readonly shout: readonly string[];
  readonly notes: readonly string[];
  readonly called: (id: string) => string;
}

export const explain: Command = {
  name: "explain",
  summary: "Say what becomes of a packet, decision by decision, and whether the datastore says the same.",
  detail: [
    "Builds the packet, runs the programs that enforce over it on the live maps, in a run that no packet sees and that changes nothing, and",
    "prints how they decided at both ends. Then the reference evaluator judges the same packet by what the datastore holds now; if the two",
    "differ that is said first of all, and the exit status is 7. Works while the agent is dead. What an endpoint of another host decides is",
    "to be asked there. With iptables no packet can be run: chains and sets are read back from the kernel and walked, and the answer says so.",
  ],
  arguments: [],
  flags: [...QUESTION_FLAGS, { name: "no-datastore", doc: "Ask only the kernel." }],
  settings: [...STATE_SETTINGS, ...DATASTORE_SETTINGS],
  examples: [
    "torbie explain --from web1 --to db1 --port 5432",
    "torbie explain --from 198.51.100.7 --to tap1a2b3c4d-5e --proto udp --port 53",
    "torbie explain --from web1 --to 2001:db8::7 --proto icmp",
    "torbie explain --from host --to web1 --port 22 -6",
  ],
  run: async (invocation) => {
    const explanation = await explainIt(invocation);
    const { context } = invocation;
    if (invocation.json) context.out(json(shape(explanation)));
    else context.out(text(explanation, context.colours));
    return explanation.agrees === false ? EXIT.disagrees : EXIT.ok;
  },
};

async function explainIt(invocation: Invocation): Promise<Explanation> {
  try {
    return await withMaps(invocation, async (state, interfaces, settings) => {
      const answer = await askKernel(invocation, state, interfaces);
      const own = await invocation.context.isOwnBuild(state.tables, settings);
      const origins = originsOf(invocation);
      const namer: Namer = {
        ...portNames(answer.ports, interfaces),
        policies: (number) =>
          policyNames(setName(number), state.policy(number)).map((id) => `${id}${origins.get(id) ?? ""}`),
        name: (kind, number) => state.name(kind, number),
      };
      const setName = (number: number): string | undefined => {
        const set = answer.ports.find((port) => port.number === number)?.policySet;
        return set === undefined ? undefined : state.name(NameKind.NAME_POLICY_SET, set);
      };
      return conclude(invocation, answer, namer, [
        ...(own ? [] : ["the programs that enforce are of another build than this command; it went by its own"]),
      ]);
    });
  } catch (error) {
    if (!(error instanceof CommandError) || error.code !== "NO_MAPS") throw error;
  }
  const rules = await invocation.context.openRules(invocation.config().config);
  if (rules === undefined)
    throw new CommandError(EXIT.absent, "NO_RULES", "the rules went while they were read: ask again");
  try {
    const interfaces = await invocation.context.interfaceNames();
    const answer = await askRules(invocation, rules, interfaces);
    return ofRules(invocation, rules, answer, await datastoreOf(invocation), portNames(answer.ports, interfaces));
  } finally {
    rules.close();
  }
}

const portNames = (ports: readonly Port[], interfaces: ReadonlyMap<number, string>) => {
  const named = (port: Port): string =>
    escape(port.workload !== "" && port.interface !== "" ? `${port.interface} (${port.workload})` : callIt(port));
  const of = (fits: (port: Port) => boolean, fallback: string): string => {
    const port = ports.find(fits);
    return port === undefined ? fallback : named(port);
  };
  return {
    port: (number: number): string => of((port) => port.number === number, `endpoint ${number} (gone)`),
    called: (id: string): string => of((port) => port.id === id, escape(id)),
    interface: (ifindex: number): string => escape(interfaces.get(ifindex) ?? `interface ${ifindex}`),
  };
};

function originsOf({ context, config }: Invocation): ReadonlyMap<string, string> {
  const status = context.readStatus(config().config.runDir);
  return new Map(status?.policies.map(({ id, origin }) => [id, ` (${origin})`]));
}

async function datastoreOf({ context, config, flags }: Invocation): Promise<Datastore> {
  if (flags.has("no-datastore")) return { why: "not asked (--no-datastore)" };
  try {
    return await context.readModel(config());
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { why: error.message };
  }
}

async function conclude(
  invocation: Invocation,
  answer: KernelAnswer,
  namer: Namer,
  notes: readonly string[],
): Promise<Explanation> {
  const found = await datastoreOf(invocation);
  const { verdict, walk, question, scene, sent, before } = answer;
  const sections = sectionsOf(walk, question, namer);
  const common = { answer, sections, verdict, called: namer.called };
  if ("why" in found)
    return {
      ...common,
      datastore: null,
      agrees: null,
      shout: [],
      notes: [...notes, `the datastore was not compared: ${found.why}`],
    };
  const outcome = evaluate(found.model, scene, sent, before);
  const said = verdictOfOutcome(outcome);
  const agrees = agree(verdict, said) ?? null;
  const running = invocation.context.agentRuns(invocation.config().config.runDir);
  return {
    ...common,
    datastore: { description: found.description, verdict: said, rule: outcome.rule ?? null },
    agrees,
    shout: [
      "DISAGREEMENT: the kernel does not do what the datastore says.",
      `  kernel:    ${verdictText(verdict, namer)}`,
      `  datastore: ${verdictText(said, namer)}`,
    ],
    notes: [
      ...notes,
      ...elsewhere(found.model, answer),
      ...problemNotes(found),
      ...(agrees === false && !running
        ? ["no agent runs: what has changed in the datastore since is not in force"]
        : []),
    ],
  };
}

function ofRules(
  invocation: Invocation,
  rules: RulesView,
  answer: RulesAnswer,
  found: Datastore,
  names: ReturnType<typeof portNames>,
): Explanation {
  const { walk, verdict, question, scene, sent } = answer;
  const policies = policiesOfChains(rules.endpoints(), rules);
  const common = { answer, sections: [rulesSection(walk, policies)], verdict, called: names.called };
  const notes = [
    "read back and walked: no packet was run. Connections that the kernel tracks (torbie flow list) were not looked at: it is judged as a first packet",
    ...(answer.internal === undefined
      ? []
      : [`${question.to.address} is a floating IP: NAT makes ${answer.internal} of it, and that is walked`]),
    ...walk.before.map(
      ({ chain, rule }) => `${chain} asks a rule of others before ours, which may decide first: ${escape(rule)}`,
    ),
  ];
  const unhooked = walk.unhooked.map(
    (hook) => `our jump is missing in ${hook}: what is not asked is not enforced (torbie check --repair)`,
  );
  if ("why" in found)
    return {
      ...common,
      datastore: null,
      agrees: unhooked.length > 0 ? false : null,
      shout: ["DISAGREEMENT: the rules in the kernel are not whole.", ...unhooked.map((line) => `  ${line}`)],
      notes: [...notes, `the datastore was not compared: ${found.why}`],
    };
  const outcome = evaluate(found.model, scene, sent);
  const said = verdictOfOutcome(outcome);
  const ends = [question.from.port, question.to.port].filter((port) => port !== undefined);
  const different = differences(rules, ends, found.model, scene.links).map(escape);
  const agrees = agreeRules(verdict, said);
  const running = invocation.context.agentRuns(invocation.config().config.runDir);
  return {
    ...common,
    datastore: { description: found.description, verdict: said, rule: outcome.rule ?? null },
    agrees: agrees && unhooked.length === 0 && different.length === 0,
    shout: [
      agrees
        ? "DISAGREEMENT: this packet goes the same way, but the rules are not what the datastore says."
        : "DISAGREEMENT: the kernel does not do what the datastore says.",
      `  kernel:    ${verdictText(verdict, names)}`,
      `  datastore: ${verdictText(said, names)}`,
      ...unhooked.map((line) => `  ${line}`),
      ...(different.length === 0 ? [] : [`  what was written last for ${different.join(", ")} differs (torbie check)`]),
    ],
    notes: [
      ...notes,
      ...elsewhere(found.model, answer),
      ...problemNotes(found),
      ...(running ? [] : ["no agent runs: what has changed in the datastore since is not in force"]),
    ],
  };
}

/** Ends that other hosts judge. */
function elsewhere({ hostname, endpoints, locals }: Model, { question: { from, to, fromHost } }: Answer): string[] {
  const of = (address: Address) =>
    [...endpoints.values()].find(
      ({ id, prefixes }) => !locals.has(id) && prefixes.some((prefix) => contains(prefix, address)),
    );
  return [from, to].flatMap(({ address, port }) => {
    const other = port === undefined && !(fromHost && address === from.address) ? of(address) : undefined;
    return other === undefined
      ? []
      : [
          `${address} is ${escape(other.id)} on host ${escape(other.node)}: ${escape(hostname)} decides only its own half, the other is judged there`,
        ];
  });
}

const problemNotes = ({ problems }: DatastoreModel): string[] =>
  problems.length === 0
    ? []
    : [
        `${problems.length} thing${problems.length === 1 ? "" : "s"} in the datastore could not be understood (torbie status)`,
      ];

function text(
  { answer, sections, verdict, datastore, agrees, shout, notes, called }: Explanation,
  colours: boolean,
): string {
  const { bold, good, bad } = style(colours);
  const { question } = answer;
  const passes = verdict.what !== "drop";
  const said =
    datastore === null
      ? []
      : [
          `${bold("Datastore".padEnd(10))} ${verdictText(datastore.verdict, { called })}${datastore.rule === null ? "" : `, by ${escape(datastore.rule)}`}: ${
            agrees === null ? "nothing to compare" : agrees ? good("agrees") : bad("DISAGREES")
          } (${datastore.description})`,
        ];
  return [
    ...(agrees === false ? [bad(shout[0] ?? ""), ...shout.slice(1), ""] : []),
    bold(questionText(question)),
    "",
    render(sections, colours),
    `${bold("Verdict".padEnd(10))} ${(passes ? good : bad)(verdictText(verdict, { called }))}`,
    ...said,
    ...notes.map((note) => `${bold("Note".padEnd(10))} ${note}`),
    "",
  ].join("\n");
}

function shape({ answer, sections, verdict, datastore, agrees, notes }: Explanation): object {
  const { question } = answer;
  const end = ({ address, port }: typeof question.from) => ({ address, port: port?.id ?? null });
  return {
    question: {
      ...question,
      icmp: question.icmp ?? null,
      from: end(question.from),
      to: end(question.to),
    },
    verdict,
    datastore,
    agrees,
    ...stepsOf(answer),
    walk: sections.map(({ title, lines }) => ({ title, lines: lines.map((line) => line.text) })),
    notes,
  };
}

/** Steps of the programs, or rules that matched. */
function stepsOf(answer: Answer): object {
  const { walk } = answer as KernelAnswer | RulesAnswer;
  return "steps" in walk
    ? { steps: walk.steps, cut: walk.cut }
    : { steps: null, cut: false, rules: walk.passed, othersBefore: walk.before, unhooked: walk.unhooked };
}
