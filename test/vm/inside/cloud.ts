/** The cloud of the suites: "client" may ask "server" on TCP 80 and more, the world outside one port of "server". */
import type { Namespace } from "../../../src/demo/world/namespace.js";
import { Probe, type Reached } from "../../../src/demo/world/probe.js";
import { ROUTER } from "../../../src/demo/world/world.js";
import { Cloud } from "../../support/cloud.js";
import { TALKERS, TALKERS_GROUPS } from "../../support/continuity.js";
import { group, inGroup, type Resource, type RuleObject } from "../../support/resources.js";
import { serve, stream } from "../../support/stream.js";
import { CHOICES } from "../boots.js";

const said = process.env["VM_CHOOSES"];
const found = CHOICES.find((one) => one === said);
if (found === undefined) throw new Error(`VM_CHOOSES=${said ?? ""}: it is one of ${CHOICES.join(", ")}`);
/** What an agent takes by itself on this kernel. */
export const chooses = found;
export const usesRules = chooses.startsWith("iptables");

/** Milliseconds for what is to come through, and for what is not. */
export const [LONG, SHORT] = [15_000, 3_000];
/**
 * Traffic under which something happens. Little enough for an emulated processor that another one's work takes time from: what it can't
 * keep up with piles up. 3 packets and words, 1 connection and 1 question a second.
 */
export const streaming = (from: Namespace, address: string): ReturnType<typeof stream> =>
  stream(from, address, 100, 30);

const tcp = (ipVersion: 4 | 6, source: RuleObject, ports: readonly number[]): RuleObject => ({
  action: "Allow",
  ipVersion,
  protocol: "TCP",
  source,
  destination: { ports },
});
const web = (ports: readonly number[]): Resource =>
  group("web", {
    ingress: [
      ...([4, 6] as const).map((version) => tcp(version, { selector: inGroup("client") }, ports)),
      tcp(4, { nets: [`${ROUTER.v4}/32`] }, [5201]),
    ],
  });

/** Those of TALKERS; what "web" admits of the client besides. A guest answers on TCP 80 and 5432 (guestSpec). */
export const policies = (ports: readonly number[] = [80]): Resource[] => [...TALKERS_GROUPS, web(ports)];

export interface Talking {
  readonly cloud: Cloud;
  /** Of the world outside. */
  readonly outside: Probe;
  readonly close: () => Promise<void>;
}

/** With an agent that chooses its dataplane; the server and the world outside answer streams. */
export async function talking(): Promise<Talking> {
  const members = TALKERS.map(({ groups, ...rest }, i) => ({ ...rest, groups: i === 1 ? [...groups, "web"] : groups }));
  const cloud = await Cloud.create(members, policies(), ["--resync", "10m"]);
  const { fabric } = cloud.world;
  await announce(cloud);
  const outside = await Probe.start(fabric, ["tcp/80"]);
  const serving = [await serve(cloud.guest("server").namespace), await serve(fabric)];
  return {
    cloud,
    outside,
    close: async () => {
      for (const one of [...serving, outside]) await one.stop();
      await cloud.close();
    },
  };
}

/** The fabric knows where the guests are. */
export const announce = ({ world }: Cloud): Promise<void> =>
  world.announce(...[...world.guests.values()].flatMap(({ v4, v6 }) => [v4, v6]));

export const result = async (reached: Promise<Reached>): Promise<Reached["result"]> => (await reached).result;
