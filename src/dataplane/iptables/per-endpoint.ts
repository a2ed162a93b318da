/** What endpoints came to, for as long as they are the same objects: of a thousand on a host those that did not change are not rendered again. */
import type { DesiredEndpoint } from "../../compile/desired.js";
import type { Chain } from "./types.js";

interface Known {
  /** All that it depends on besides the endpoint. */
  readonly said: string;
  readonly chain: Chain;
}

export class PerEndpoint {
  readonly #known = new WeakMap<DesiredEndpoint, Map<string, Known>>();

  /**
   * @param what names the chain, among those of one endpoint
   * @param said what else it depends on, as text
   * @returns the very chain of the last time, if nothing that it depends on differs
   */
  chain(endpoint: DesiredEndpoint, what: string, said: string, render: () => Chain): Chain {
    let chains = this.#known.get(endpoint);
    if (chains === undefined) this.#known.set(endpoint, (chains = new Map<string, Known>()));
    let known = chains.get(what);
    if (known?.said !== said) chains.set(what, (known = { said, chain: render() }));
    return known.chain;
  }
}
