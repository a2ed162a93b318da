/** The whole table: every clause of S1-S6 and S9, and of the decisions that a guest can notice. */
import type { Case } from "./case.js";
import { CHANGES } from "./cases/changes.js";
import { CLAIMS } from "./cases/claims.js";
import { FLOATING } from "./cases/floating.js";
import { FLOWS } from "./cases/flows.js";
import { HOST_CASES } from "./cases/host.js";
import { HOSTILE } from "./cases/hostile.js";
import { NEIGHBOURS } from "./cases/neighbours.js";
import { POLICIES } from "./cases/policies.js";
import { PROMISES } from "./cases/promises.js";
import { REACH } from "./cases/reach.js";
import { SERVICES } from "./cases/services.js";
import { SOURCES } from "./cases/sources.js";

export const CASES: readonly Case[] = [
  ...REACH,
  ...NEIGHBOURS,
  ...SOURCES,
  ...FLOWS,
  ...HOST_CASES,
  ...CHANGES,
  ...CLAIMS,
  ...POLICIES,
  ...PROMISES,
  ...HOSTILE,
  ...SERVICES,
  ...FLOATING,
];
