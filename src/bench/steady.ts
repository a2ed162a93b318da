/** Established packets by what they are and where they go; the policy opens OPEN_PORT to all. Pure. */
import { FIRST_MEMBER, FROM, guest6, OPEN_PORT, TO } from "./cloud.js";
import type { Plan } from "./inject.js";

const ELSEWHERE6 = "fd01::1";

export const WAYS = ["tap_tap", "tap_uplink", "uplink_tap"] as const;
export type Way = (typeof WAYS)[number];

export interface Steady {
  readonly family: 4 | 6;
  readonly way: Way;
  /** Of the IP packet; 64: of the frame. */
  readonly bytes: 64 | 1500;
}

const part = ({ family, bytes }: Pick<Steady, "family" | "bytes">): string =>
  `${family === 6 ? "_v6" : ""}${bytes === 64 ? "" : "_1500"}`;

/** What is subtracted, and what it is compared with. */
export const floorOf = (steady: Pick<Steady, "family" | "bytes">): string => `floor${part(steady)}`;
export const limitOf = (steady: Pick<Steady, "family" | "bytes">): string => `limit${part(steady)}`;
export const suffixOf = ({ family, way, bytes }: Steady): string =>
  `${family === 6 ? "_v6" : ""}${way === "tap_tap" ? "" : `_${way}`}${bytes === 64 ? "" : "_1500"}`;
export const steadyOf = (steady: Steady): string => `established${suffixOf(steady)}`;
export const byHandOf = (steady: Steady): string => `two_rules${suffixOf(steady)}`;

/** Every one but the 64-byte IPv4 packet from tap to tap, which has its own name. */
export function steadies(quick: boolean): Steady[] {
  const all = ([4, 6] as const).flatMap((family) =>
    WAYS.flatMap((way) => ([64, 1500] as const).map((bytes): Steady => ({ family, way, bytes }))),
  );
  return all.filter(
    ({ family, way, bytes }) =>
      (family === 6 || way !== "tap_tap" || bytes !== 64) &&
      (!quick || (bytes === 64 && (family === 4 || way === "tap_tap"))),
  );
}

/** One flow from the guest on the first tap to the one on the second, or to and from elsewhere. */
export function planOf({ family, way }: Pick<Steady, "family" | "way">): Plan {
  const [fromTap, toTap] = [way !== "uplink_tap", way !== "tap_uplink"];
  const [firstSource, destination] = [fromTap ? FROM : FIRST_MEMBER, toTap ? TO : FIRST_MEMBER];
  const ipv6 = { source: fromTap ? guest6(0) : ELSEWHERE6, destination: toTap ? guest6(1) : ELSEWHERE6 };
  return { flows: 1, firstSource, destination, firstPort: OPEN_PORT, ...(family === 6 ? { ipv6 } : {}) };
}

/** The same flow's packets the other way. */
export function answerOf(plan: Plan): Plan {
  const { firstSource, destination, ipv6 } = plan;
  const back = { firstSource: destination, destination: firstSource, firstSourcePort: OPEN_PORT, firstPort: 1024 };
  return {
    flows: 1,
    ...back,
    ...(ipv6 === undefined ? {} : { ipv6: { source: ipv6.destination, destination: ipv6.source } }),
  };
}
