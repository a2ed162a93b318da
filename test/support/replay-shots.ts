/** What is sent after a step of a recording: questions of the rules, put to every tap of a host, with what is to come of it. */
import type { Journey, Neutron, Twist } from "./neutron.js";
import { isGuest, type Port } from "./neutron-api.js";
import { isAlone, type Question, type Questions } from "./neutron-probes.js";
import { canonical, contains, familyOf } from "./prefix.js";
import type { Step } from "./recorded.js";
import type { Shot, Tap } from "./replay-host.js";

/** An eighth of what a step does not concern is asked after it, another one after the next. */
const TURNS = 8;
/** Nobody's address to send from, and somebody outside to send to. */
const FORGED = { 4: "198.18.7.7", 6: "2001:db8:79::7" } as const;
const ELSEWHERE = { 4: "198.18.0.9", 6: "2001:db8:78::9" } as const;

export interface Guesting {
  readonly hostname: string;
  readonly neutron: Neutron;
  readonly questions: Questions;
  /** By port: what it was when it was seen last. */
  readonly ports: ReadonlyMap<string, Port>;
  readonly taps: readonly Tap[];
}

export interface Judged extends Shot {
  /** By the API alone. */
  readonly meant: boolean;
  /** Which single losses explain the difference to `expected`. */
  readonly because: readonly Twist[];
}

const known = new WeakMap<Port, readonly string[]>();
/** Its addresses; of a prefix one. */
function plain(port: Port): readonly string[] {
  const addresses =
    known.get(port) ??
    [...port.fixed_ips, ...port.allowed_address_pairs]
      .map(({ ip_address }) => ip_address.replace(/\.0\/\d+$/, ".9").replace(/::\/\d+$/, "::9"))
      .map(canonical);
  known.set(port, addresses);
  return addresses;
}

/** Every port of a guest that was ever bound to the host, as it was at the first time. */
export function tapsOf(steps: readonly Step[], hostname: string, own: readonly Port[]): Tap[] {
  const ports = steps
    .filter(({ request }) => /^\w+ \/v2\.0\/ports/.test(request))
    .map(({ response }) => response as Port | null)
    .filter((port): port is Port => port?.["binding:host_id"] === hostname && isGuest(port));
  const all = new Map([...own, ...ports].map((port) => [port.id, port]));
  return [...all.values()].map(({ id, mac_address: mac }) => ({ id, name: `tap${id.slice(0, 11)}`, mac }));
}

export function shotsAfter(step: Step, index: number, guesting: Guesting, twists: readonly Twist[]): Judged[] {
  const { neutron, hostname, taps, ports } = guesting;
  const written = new Set(twists);
  return taps.flatMap(({ id }) => {
    const port = ports.get(id);
    return (port === undefined ? [] : journeysOf(port, step, index, guesting)).map((journey): Judged => {
      const meant = neutron.meant(journey, hostname);
      const expected = neutron.meant(journey, hostname, written);
      const flips = (twist: Twist): boolean => neutron.meant(journey, hostname, new Set([twist])) === expected;
      return { journey, meant, expected, because: meant === expected ? [] : twists.filter(flips) };
    });
  });
}

function journeysOf(port: Port, step: Step, index: number, guesting: Guesting): Journey[] {
  const { questions, neutron, hostname, ports, taps } = guesting;
  const concerned = concerns(step, port);
  const changed = [...ports.values()].filter(({ id }) => isAbout(step, id)).flatMap(plain);
  const asked = (list: readonly Question[]): Question[] =>
    list.filter(({ remote }, i) => concerned || changed.includes(remote) || i % TURNS === index % TURNS);
  const own = plain(port);
  const towards = port.id;
  const mine = (remote: string): string[] => own.filter((address) => familyOf(address) === familyOf(remote));
  /** Where packets of that address begin: its tap if it is here. If it was here once, its old tap tries too. */
  const places = (remote: string): (string | undefined)[] => {
    const here = neutron.owner(hostname, remote)?.id;
    const once = [...ports.values()].filter((one) => plain(one).includes(remote)).map(({ id }) => id);
    return [...new Set([here, ...once])].filter((at) => at === undefined || taps.some(({ id }) => id === at));
  };
  const ingress = asked(questions.ingress).flatMap(({ remote, packet }, i) =>
    places(remote)
      .filter((at) => at !== towards && !(at !== undefined && isAlone(packet)))
      .flatMap((at) => {
        const mineNow = mine(remote);
        // Each of its addresses in turn, the first one always.
        const to = [...new Set([mineNow[0], mineNow[(i + index) % Math.max(1, mineNow.length)]])];
        return to.flatMap((address) =>
          address === undefined ? [] : [{ at, towards, from: remote, to: address, packet }],
        );
      }),
  );
  const leaves = (from: string, { remote, packet }: Question): Journey => ({
    ...{ at: towards, towards: undefined, from, to: remote, packet },
  });
  const egress = asked(questions.egress).flatMap((question) =>
    mine(question.remote).map((from) => leaves(from, question)),
  );
  const forged = ([4, 6] as const).flatMap((family) =>
    [
      FORGED[family],
      ...questions.everyone.filter((one) => familyOf(one) === family && !own.includes(one)).slice(0, 1),
    ].map((from) => leaves(from, { remote: ELSEWHERE[family], packet: { protocol: 17, port: 33_333 } })),
  );
  return [...ingress, ...egress, ...forged].filter(({ from, to }) => !contains(from, to));
}

const isAbout = ({ request, response }: Step, id: string): boolean =>
  request.includes(id) || (response as { id?: unknown } | null | undefined)?.id === id;

/** Whether the step is about the port itself, or about one of its groups. */
function concerns(step: Step, { id, security_groups }: Port): boolean {
  if (isAbout(step, id)) return true;
  return step.etcd.some(
    ({ op, key }) => op !== "PUT(same value)" && security_groups.some((group) => key.endsWith(`ossg.default.${group}`)),
  );
}
