// `restore --files DIR`, `restore --files-in-place`: the companion files of a point's time. All that can be refused is refused before the database
// itself is restored.

import { basename, resolve } from "node:path";
import {
  type CompanionsVersion,
  formatTxId,
  PageferryError,
  parseCompanionsName,
  type RestorePlan,
  type RestoreTarget,
  readCompanions,
} from "@pageferry/format";
import type { BackupSource } from "./backup-source.ts";
import { type CompanionPlaces, placesBelow, placesInPlace } from "./companion-places.ts";
import { checkEmptyDirectory, type WrittenCompanions, writeCompanions } from "./companion-write.ts";
import { loadConfig } from "./config-file.ts";
import type { Io } from "./io.ts";
import type { RestoreOptions } from "./restore-options.ts";
import { formatTime } from "./table.ts";
import { printable } from "./terminal-text.ts";

/** Which files are wanted, and for which point. */
export interface CompanionRequest {
  readonly froms: readonly string[];
  readonly source: BackupSource;
  readonly plan: RestorePlan;
  readonly target: RestoreTarget;
  readonly options: Partial<RestoreOptions>;
}

/** Files that were read and have a place, and are not written yet. */
export interface ReadyCompanions {
  /** Undefined: none were asked for. */
  readonly json: (() => object | null) | undefined;
  write(): Promise<void>;
}

/** Reads the files that were asked for, whole, and finds their places. Without them it only says that there are some. */
export async function prepareCompanions(request: CompanionRequest, io: Io): Promise<ReadyCompanions> {
  const { source, plan, target, options } = request;
  const { files: directory, filesInPlace = false, force = false } = options;
  if (directory !== undefined && filesInPlace)
    throw new PageferryError("bad-request", "--files and --files-in-place name two places: give one");
  const isAsked = directory !== undefined || filesInPlace;
  if (directory !== undefined && !force) await checkEmptyDirectory(resolve(directory));
  const entry = await source.companions(plan, target, io.signal);
  if (entry === undefined) {
    if (isAsked) io.err("note: there are no companion files of that time\n");
    return { json: isAsked ? () => null : undefined, write: async () => undefined };
  }
  if (!isAsked) {
    io.err(`note: there are companion files, of ${timeOf(entry.name)}: --files DIR restores them\n`);
    return { json: undefined, write: async () => undefined };
  }
  const version = await readCompanions(source.readers, entry, { signal: io.signal });
  const places =
    directory === undefined
      ? placesInPlace(version, await configured(request, io))
      : placesBelow(version, directory);
  let written: WrittenCompanions | undefined;
  return {
    json: () => jsonOf(entry.name, version, places, written),
    async write() {
      const root = directory === undefined ? undefined : resolve(directory);
      written = await writeCompanions(places.placed, { overwrite: force, root });
      tell({ version, places, written, plan }, io);
    },
  };
}

function timeOf(name: string): string {
  return formatTime(parseCompanionsName(name)?.stampMs ?? null);
}

/** In place is where the configuration here says; a backup says only what the files were called. */
async function configured({ froms, options }: CompanionRequest, io: Io) {
  const { config, output = "" } = options;
  const databases = config === undefined ? [] : (await loadConfig(io, config)).config.databases;
  const name = basename((URL.parse(froms[0] ?? "")?.pathname ?? froms[0] ?? "").replace(/\/+$/, ""));
  const database =
    databases.find((one) => resolve(one.path) === resolve(output)) ??
    databases.find((one) => one.name === name);
  if (database?.files !== undefined && database.files.length > 0) return database;
  throw new PageferryError(
    "bad-request",
    "--files-in-place: no configuration here names files of this database",
    {
      hint: "Name it with --config; its `databases` need `files`. Or restore them elsewhere: --files DIR.",
    },
  );
}

interface Told {
  readonly version: CompanionsVersion;
  readonly places: CompanionPlaces;
  readonly written: WrittenCompanions;
  readonly plan: Pick<RestorePlan, "stampMs" | "txId">;
}

/** What a person should know of these files: from when they are, and what is not among them. */
export function tell({ version, places, written, plan }: Told, io: Io): void {
  const point = plan.stampMs === null ? formatTxId(plan.txId) : formatTime(plan.stampMs);
  io.err(
    `companion files: ${written.written.length} written, as they were read at ${formatTime(version.stampMs)} (the point was committed at ${point})\n` +
      "note: a set of files is not one instant, neither with the database nor in itself\n",
  );
  for (const path of written.written) io.err(`  ${printable(path)}\n`);
  for (const path of written.left)
    io.err(`warning: ${printable(path)} is there and was left as it is; --force replaces it\n`);
  for (const name of places.strange)
    io.err(`warning: ${printable(name)} is not among the files of the configuration, and was not written\n`);
  for (const { name, why } of version.skipped)
    io.err(`warning: ${printable(name)} was there and is not in the backup: ${why}\n`);
}

function jsonOf(
  name: string,
  { stampMs, txId, skipped }: CompanionsVersion,
  { strange }: CompanionPlaces,
  written: WrittenCompanions | undefined,
): object {
  return {
    ...{ object: name, time: formatTime(stampMs), txid: formatTxId(txId) },
    ...{ written: written?.written ?? [], left: written?.left ?? [], strange },
    skipped: skipped.map((one) => ({ name: one.name, why: one.why })),
  };
}
