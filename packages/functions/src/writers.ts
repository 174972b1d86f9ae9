// Whether two agents send one database: an agent that began a generation does not go back to an older one, again and again; somebody else does.

import type { DatabaseName, GenerationBegin } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Source } from "./sources.ts";

/** Two writers take turns; one that began anew never goes back. This many returns within the window are two. */
const returnsMax = 3;
const returnsWindowMs = 5 * 60_000;

export interface WriterWatch {
  /** An envelope of the generation `begin` came, and `source` is what was known before. */
  heard(source: Source, begin: GenerationBegin, nowMs: number): void;
}

export function createWriterWatch(alarms: Alarms): WriterWatch {
  const returns = new Map<DatabaseName, number[]>();
  return {
    heard({ database, generation, generations, host }, begin, nowMs) {
      const last = generations.get(generation);
      const isReturn = generation !== begin.generation && last !== undefined && begin.epoch <= last.epoch;
      if (!isReturn || !generations.has(begin.generation)) return;
      const before = returns.get(database) ?? [];
      const recent = [...before, nowMs].filter((atMs) => atMs > nowMs - returnsWindowMs);
      returns.set(database, recent.slice(-returnsMax));
      if (recent.length < returnsMax) return;
      alarms.raise({
        code: "fork",
        database,
        message: `two agents send ${database}: one on ${host}, one on ${begin.host}, generations ${generation} and ${begin.generation}`,
        hint: "Stop one of the two agents; both histories are kept, choose with --generation.",
      });
    },
  };
}
