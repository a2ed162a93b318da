/** src/dataplane/services as the agent's loop sees it. */
import type { DesiredDelta, DesiredState } from "../../compile/desired.js";
import type { Config } from "../../config/schema.js";
import { hostAddresses } from "../../dataplane/conntrack/host-addresses.js";
import type { Floats } from "../../dataplane/services/floating.js";
import { Conntrack } from "../../dataplane/conntrack/conntrack.js";
import { forgetRedirected } from "../../dataplane/conntrack/redirected.js";
import type { ServicesWish } from "../../dataplane/services/rules.js";
import {
  ensureServices,
  floatingProblems,
  floatsIn,
  knownByTap,
  metadataProblems,
} from "../../dataplane/services/services.js";
import type { Address } from "../../model/types.js";
import type { Problem } from "../../problems.js";
import type { ServicesPart } from "../parts.js";
import { metadataOf } from "./served.js";

export function servicesWish(
  config: Config,
  desired: Pick<DesiredState, "endpoints">,
  hosts = hostAddresses(),
): ServicesWish {
  const { interfacePrefix: prefixes, interfaceExclude: excluded } = config;
  return {
    taps: { prefixes, excluded },
    metadata: metadataOf(config),
    knownBy: knownByTap(desired),
    floating: floatsIn(desired, hosts),
  };
}

export class ServicesAdapter implements ServicesPart {
  readonly #config: Config;
  /** What stands, as text. */
  #stands = "";
  #problems: readonly Problem[] = [];
  /** Floating IPs whose connections have not been looked through yet. */
  readonly #changed = new Set<Address>();

  constructor(config: Config) {
    this.#config = config;
  }

  problems(): readonly Problem[] {
    return this.#problems;
  }

  async ensure(desired: DesiredState, delta?: DesiredDelta): Promise<number> {
    // A pass that changes no endpoint must not cost what grows with them, and reading the host's addresses grows with its interfaces.
    if (delta?.endpoints.size === 0 && this.#stands !== "") return 0;
    const hosts = hostAddresses();
    const wish = servicesWish(this.#config, desired, hosts);
    const text = JSON.stringify([[...wish.knownBy], [...wish.floating]]);
    if (delta !== undefined && text === this.#stands) return 0;
    this.#problems = [...metadataProblems(wish, hosts), ...floatingProblems(desired, hosts)];
    this.#stands = ""; // should it throw, the next pass writes again
    const { writes, changed } = await ensureServices(wish);
    for (const external of changed) this.#changed.add(external);
    await this.#forget(wish.floating);
    this.#stands = text;
    return writes;
  }

  /** Tried again by the next pass, should it throw. */
  async #forget(leads: Floats): Promise<void> {
    if (this.#changed.size === 0) return;
    const conntrack = new Conntrack();
    try {
      await forgetRedirected(conntrack, this.#changed, leads);
    } finally {
      conntrack.close();
    }
    this.#changed.clear();
  }
}
