/**
 * All that stands, read while changes may go on being written: reading takes a second where there are hundreds of ports, and no change
 * waits for it. Of what was written meanwhile it says nothing.
 */
import type { Family } from "../../model/types.js";
import type { Runner } from "../run.js";
import { readLinks, readSets, readTable, type Printed } from "./read-back.js";
import { FAMILIES, TABLES, type RenderedSet, type TableName, type Touched } from "./types.js";

export interface Reading {
  readonly sets: ReadonlyMap<string, RenderedSet>;
  readonly tables: Readonly<Record<Family, Readonly<Record<TableName, Printed>>>>;
  readonly links: Printed;
  /** Since it began. */
  readonly written: Written;
}

/** Names of chains of the table filter, and of sets. */
export class Written {
  readonly sets = new Set<string>();
  readonly chains: Readonly<Record<Family, Set<string>>> = { 4: new Set(), 6: new Set() };
  /** More than is named. */
  all = false;

  note(touched: Touched | undefined): void {
    if (touched === undefined) this.all = true;
    for (const name of touched?.sets ?? []) this.sets.add(name);
    for (const family of FAMILIES) for (const name of touched?.chains[family] ?? []) this.chains[family].add(name);
  }
}

/** @param written is told of every write from now on @throws DataplaneError, UnsupportedError */
export async function readAll(run: Runner, written: Written): Promise<Reading> {
  const sets = await readSets(run);
  const tables: Record<Family, Partial<Record<TableName, Printed>>> = { 4: {}, 6: {} };
  for (const family of FAMILIES)
    for (const table of TABLES) tables[family][table] = await readTable(run, family, table);
  return { sets, tables: tables as Reading["tables"], links: await readLinks(run), written };
}
