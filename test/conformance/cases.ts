/** The whole table: every clause of S1-S6 and S9, and of the decisions that a guest can notice. */
import type { Case } from "./case.js";
import { NEIGHBOURS } from "./cases/neighbours.js";
import { REACH } from "./cases/reach.js";

export const CASES: readonly Case[] = [...REACH, ...NEIGHBOURS];
