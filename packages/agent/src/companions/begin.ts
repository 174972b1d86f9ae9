// Begins to look at a database's companion files, where it has some and is being captured itself.
import { join } from "node:path";
import { acknowledgedOf, newest } from "../chapter.ts";
import type { DatabaseState } from "../database-state.ts";
import { beginOf } from "../generation.ts";
import { relieve } from "../upkeep.ts";
import { type Companions, type CompanionsChapter, openCompanions } from "./companions.ts";

/** Begins, where there are files to look at. */
export function beginCompanions(state: DatabaseState): Companions | undefined {
  const { shared, place, alarms } = state;
  if (place.files.length === 0) return;
  // A database that is only sent is being restored: what waits goes, and its files, which may not be there yet, are not looked at.
  const isOnlySent = shared.openSource === null;
  const { queue, callGate, readGate, now, random, settings } = shared;
  return openCompanions({
    ...{ database: place.name, databasePath: place.path, patterns: place.files },
    ...{ queue, callGate, readGate, alarms, now, random },
    directory: join(place.directory, "files"),
    compression: settings.compression,
    intervalMs: settings.filesMs,
    refusedMs: settings.refusedMs,
    chapter: () => (isOnlySent ? undefined : chapterOf(state)),
    onNoRoom: () => relieve(state),
  });
}

/** The present generation, once the host has something of it: a version alone must not begin one there. */
function chapterOf(state: DatabaseState): CompanionsChapter | undefined {
  const chapter = state.chapters.at(-1);
  const cursor = chapter?.cursor();
  if (chapter === undefined || cursor === undefined) return;
  const { epoch, isAbandoned } = cursor;
  const sentTxId = acknowledgedOf(cursor);
  // Before the file was looked at it may be another history that begins: what is seen now would be said of the last one.
  if (state.foundTxId === null) return;
  if (epoch === null || isAbandoned || sentTxId === null || state.sender.isHalted()) return;
  const last = newest(chapter.shadow.entries().at(-1)?.txId ?? null, sentTxId);
  const txId = newest(state.lag.newestTxId() ?? null, last);
  if (txId === null) return;
  const newestStampMs = state.lag.newestAtMs() ?? null;
  return { begin: beginOf(cursor, state.shared.host), txId, newestStampMs };
}
