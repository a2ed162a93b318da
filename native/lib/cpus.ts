import { binding } from "./binding.js";

/** How many values a per-CPU map holds for each key: CPUs that may ever come, not those that are there. */
export function possibleCpus(): number {
  return binding.possibleCpus();
}
