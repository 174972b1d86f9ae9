// What a function opens at its cold start and keeps while it is warm: replicas, staged bodies, notes. A warm function's memory of
// what replicas hold grows old, because others store and remove, too: it is renewed now and then.

import { type DatabaseName, replicaLabel } from "@pageferry/format";
import { bucketStage } from "../../bucket-stage.ts";
import { createForks, type Forks } from "../../forks.ts";
import { alarmNotes } from "../../noted-alarms.ts";
import type { Notes } from "../../notes.ts";
import { type ObjectNotes, openObjectNotes } from "../../object-notes.ts";
import { openReplicaSet, type ReplicaSet } from "../../replicas.ts";
import { createSources, mergeSources, type Sources } from "../../sources.ts";
import type { StageDoor } from "../../stage.ts";
import { retrying } from "../../stores/retrying.ts";
import { type S3Store, s3Store } from "../../stores/s3.ts";
import { createTarget, type Target } from "../../targets.ts";
import { mergeUpkeep } from "../../upkeep.ts";
import { type LambdaEnvironment, readEnvironment } from "./environment.ts";
import { openQueues, type Queues } from "./sqs.ts";
import { createTelemetry, type Telemetry } from "./telemetry.ts";

/** How long a replica's holdings are believed: a listing costs as much as a put, and what was removed meanwhile is rare. */
const holdingsAgeMs = 5 * 60_000;

/** Notes of others are for people and for forks; a write costs as much as a put. */
const notesReadMs = 5 * 60_000;
const notesWriteMs = 60_000;

/** A replica as a function works it. */
export interface LambdaTarget extends Target {
  /** As in `PAGEFERRY_LANES`. */
  readonly label: string;
}

export interface Container {
  readonly environment: LambdaEnvironment;
  readonly telemetry: Telemetry;
  readonly queues: Queues;
  readonly notes: ObjectNotes;
  /** The bucket that holds `stage/` and `state/`. */
  readonly store: S3Store;
  readonly stage: Pick<StageDoor, "touch" | "body">;
  readonly sources: Sources;
  readonly forks: Forks;
  readonly targets: readonly LambdaTarget[];
  /** Takes what others noted, where that was long ago. What cannot be read now is logged, and read later. */
  refreshNotes(): Promise<void>;
  /** Writes what was noted, where that was long ago, or there is an alarm or a fork. What cannot be written now is logged, and written later. */
  saveNotes(): Promise<void>;
}

export interface ContainerOptions {
  /** Default this process's. */
  readonly variables?: Readonly<Record<string, string | undefined>>;
  /** Of notes that only this function wants. */
  readonly prefixes?: readonly string[];
  readonly now?: () => number;
}

/** Notes that every function wants. */
const sharedPrefixes = ["source/", "fork/", "root/", alarmNotes];

/** Opens what the function `name` works with. Errors: `bad-config`, and those of the bucket with the notes. */
export async function openContainer(
  name: string,
  { variables = process.env, prefixes = [], now = Date.now }: ContainerOptions = {},
): Promise<Container> {
  const environment = readEnvironment(variables);
  const store = openStageStore(environment);
  const notes = await openObjectNotes({
    ...{ store, prefixes: [...sharedPrefixes, ...prefixes] },
    merges: { "source/": mergeSources, "upkeep/": mergeUpkeep },
  });
  // A container may be frozen for ever after any invocation: what somebody must know is written by its end.
  const pressing = pressingNotes(notes);
  const telemetry = createTelemetry({ name, deployStage: environment.deployStage, now, notes });
  const { alarms } = telemetry;
  // A farewell is said once: it is written before the invocation ends, too.
  const sources = createSources({ now, alarms, notes, onParting: pressing.press });
  const forks = createForks({ alarms, notes });
  const stage = bucketStage(store);
  const sets = await Promise.all(
    environment.config.replicas.map(async (entry) => {
      const label = replicaLabel(entry);
      const set = await openSet(entry, { label, notes, telemetry, now });
      const shared = { stagedBody: stage.body, alarms, onFork: forks.found };
      const clock = { now: () => performance.now(), random: Math.random };
      // The lanes are worked by other processes.
      return { ...createTarget(renewed(set), { ...shared, ...clock, probes: true }), label };
    }),
  );
  return {
    ...{ environment, telemetry, notes, store, stage, sources, forks, targets: sets, queues: openQueues() },
    ...upkeepOf({ notes, pressing, sources, forks, telemetry }),
  };
}

/** Opens once, while the function starts, and again when it is asked for after that failed: the bucket may be back. */
export function opened<Opened>(open: () => Promise<Opened>): () => Promise<Opened> {
  let opening: Promise<Opened> | undefined;
  const get = (): Promise<Opened> => {
    const mine = opening ?? open();
    opening = mine;
    mine.catch(() => {
      if (opening === mine) opening = undefined;
    });
    return mine;
  };
  void get().catch(() => undefined);
  return get;
}

/** The bucket that holds `stage/` and `state/`. Its credentials are the function's. */
function openStageStore({ stageBucket, endpoint }: LambdaEnvironment): S3Store {
  const at = endpoint === undefined ? {} : { endpoint };
  return retrying(s3Store({ bucket: stageBucket, ...at }));
}

interface SetParts {
  readonly label: string;
  readonly notes: ObjectNotes;
  readonly telemetry: Telemetry;
  readonly now: () => number;
}

function openSet(
  entry: LambdaEnvironment["config"]["replicas"][number],
  { label, notes, telemetry, now }: SetParts,
): Promise<ReplicaSet> {
  const note = `root/${label}`;
  return openReplicaSet(entry, {
    now,
    owner: { get: () => notes.notes(note).get(note), set: (database) => notes.setNote(note, database) },
    observe:
      () =>
      ({ operation, bytes, code }) => {
        if (operation !== "put" || code !== undefined) return;
        telemetry.add("Puts", 1);
        telemetry.add("PutBytes", bytes);
      },
  });
}

/** A replica set whose replicas are listed anew when they are asked for long after they were listed. */
function renewed(set: ReplicaSet): ReplicaSet {
  const listedAtMs = new Map<DatabaseName, number>();
  return {
    ...set,
    async of(database) {
      const replica = await set.of(database);
      const atMs = performance.now();
      const before = listedAtMs.get(database);
      if (before === undefined) listedAtMs.set(database, atMs);
      if (before !== undefined && atMs - before > holdingsAgeMs) {
        await replica.refresh();
        listedAtMs.set(database, atMs);
      }
      return replica;
    },
  };
}

interface PressingNotes extends Notes {
  /** As if something was set. */
  press(): void;
  /** Whether something was set since it was asked. */
  take(): boolean;
}

function pressingNotes(notes: Notes): PressingNotes {
  let isSet = false;
  return {
    notes: notes.notes,
    press() {
      isSet = true;
    },
    setNote(name, value) {
      isSet = true;
      notes.setNote(name, value);
    },
    dropNote(name) {
      isSet = true;
      notes.dropNote(name);
    },
    take() {
      const wasSet = isSet;
      isSet = false;
      return wasSet;
    },
  };
}

interface NoteParts {
  readonly notes: ObjectNotes;
  readonly pressing: PressingNotes;
  readonly sources: Sources;
  readonly forks: Forks;
  readonly telemetry: Telemetry;
}

function upkeepOf({
  notes,
  pressing,
  sources,
  forks,
  telemetry,
}: NoteParts): Pick<Container, "refreshNotes" | "saveNotes"> {
  let savedAtMs = Number.NEGATIVE_INFINITY;
  const logged = (what: string, work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => telemetry.log.warn({ error }, `notes cannot be ${what} now`));
  return {
    async refreshNotes() {
      if (notes.ageMs() < notesReadMs) return;
      await logged("read", notes.refresh());
      forks.reload();
      sources.reload();
    },
    async saveNotes() {
      const isPressing = pressing.take();
      if (!isPressing && performance.now() - savedAtMs < notesWriteMs) return;
      savedAtMs = performance.now();
      sources.save();
      await logged("written", notes.save());
    },
  };
}
