// `restore --files DIR`, `restore --files-in-place`: the companion files of a point's time. All that can be refused is refused before the database
// itself is restored.

import { basename, resolve } from "node:path";
import {
  type CompanionsEntry,
  type CompanionsVersion,
  counted,
  formatTxId,
  PageferryError,
  parseCompanionsName,
  type RestorePlan,
  type RestoreTarget,
  readCompanions,
} from "@pageferry/format";
import type { BackupSource } from "./backup-source.ts";
import { type CompanionPlaces, placesBelow, placesInPlace } from "./companion-places.ts";
import {
  checkEmptyDirectory,
  foreseeCompanions,
  type WriteCompanionsOptions,
  type WrittenCompanions,
  writeCompanions,
} from "./companion-write.ts";
import { loadConfig } from "./config-file.ts";
import type { Io } from "./io.ts";
import type { RestoreOptions } from "./restore-options.ts";
import { formatBytes, formatTime } from "./table.ts";
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
  /** Writes them, and says so. Gives the first error of those that could not be written, beside which the others were. */
  write(): Promise<PageferryError | undefined>;
}

/** Reads the files that were asked for, whole, and finds their places. Without them it only says that there are some. */
export async function prepareCompanions(request: CompanionRequest, io: Io): Promise<ReadyCompanions> {
  const { entry, chosen, isAsked } = await chooseCompanions(request, io);
  if (entry === undefined || chosen === undefined) {
    if (entry !== undefined) tellUnasked(entry, io);
    return { json: isAsked ? () => null : undefined, write: async () => undefined };
  }
  const { version, places, options } = chosen;
  let written: WrittenCompanions | undefined;
  return {
    json: () => ({ ...pointJson(entry), ...writtenJson(written), ...leftOutJson(chosen) }),
    async write() {
      written = await writeCompanions(places.placed, options);
      tell({ version, places, written, plan: request.plan }, io);
      for (const { path, error } of written.failed) {
        const hint = error.hint === undefined ? "" : `hint: ${printable(error.hint)}\n`;
        io.err(`error: ${printable(path)} was not written: ${printable(error.message)}\n${hint}`);
      }
      return written.failed[0]?.error;
    },
  };
}

/** What a restore would do with the files, for `--dry-run`. */
export interface PlannedCompanions {
  /** Null: there are none of that time. */
  readonly json: object | null;
  readonly words: string;
}

/** Reads what a restore would read, writes nothing, and refuses what a restore would refuse. */
export async function planCompanions(request: CompanionRequest, io: Io): Promise<PlannedCompanions> {
  const { entry, chosen } = await chooseCompanions(request, io);
  if (entry === undefined) return { json: null, words: "" };
  if (chosen === undefined) {
    tellUnasked(entry, io);
    return { json: { ...pointJson(entry), bytes: entry.size }, words: "" };
  }
  const { places, foreseen } = chosen;
  const rows = places.placed.map(({ path, file }) => ({ path, bytes: file.bytes.length }));
  const wouldWrite = rows.filter(({ path }) => foreseen.written.includes(path));
  const sum = wouldWrite.reduce((all, { bytes }) => all + bytes, 0);
  const lines = [
    `${counted(wouldWrite.length, "companion file")}, ${formatBytes(sum)}, as read at ${timeOf(entry.name)}${wouldWrite.length > 0 ? ":" : ""}`,
    ...wouldWrite.map(({ path, bytes }) => `  ${printable(path)}  ${formatBytes(bytes)}`),
  ];
  tellLeftOut({ ...chosen, written: foreseen }, io);
  return {
    json: {
      ...{ ...pointJson(entry), bytes: entry.size, wouldWrite, left: foreseen.left },
      ...leftOutJson(chosen),
    },
    words: `${lines.join("\n")}\n`,
  };
}

type Entry = Pick<CompanionsEntry, "name" | "size">;

/** Files with their places, and what writing them would come to. */
interface ChosenCompanions {
  readonly version: CompanionsVersion;
  readonly places: CompanionPlaces;
  readonly options: WriteCompanionsOptions;
  readonly foreseen: WrittenCompanions;
}

interface Choice {
  /** Undefined: there are none of that time. */
  readonly entry: Entry | undefined;
  /** Undefined: they were not asked for. */
  readonly chosen: ChosenCompanions | undefined;
  readonly isAsked: boolean;
}

async function chooseCompanions(request: CompanionRequest, io: Io): Promise<Choice> {
  const { source, plan, target, options } = request;
  const { files: directory, filesInPlace = false, force = false } = options;
  if (directory !== undefined && filesInPlace)
    throw new PageferryError("bad-request", "--files and --files-in-place name two places: give one");
  const isAsked = directory !== undefined || filesInPlace;
  if (directory !== undefined && !force) await checkEmptyDirectory(resolve(directory));
  const entry = await source.companions(plan, target, io.signal);
  if (entry === undefined && isAsked) io.err("note: there are no companion files of that time\n");
  if (entry === undefined || !isAsked) return { entry, chosen: undefined, isAsked };
  const version = await readCompanions(source.readers, entry, { signal: io.signal });
  const places =
    directory === undefined
      ? placesInPlace(version, await configured(request, io))
      : placesBelow(version, directory);
  const root = directory === undefined ? undefined : resolve(directory);
  const how = { overwrite: force, root };
  const foreseen = await foreseeCompanions(places.placed, how);
  const [failed] = foreseen.failed;
  if (failed !== undefined) throw failed.error;
  return { entry, chosen: { version, places, options: how, foreseen }, isAsked };
}

function tellUnasked({ name, size }: Entry, io: Io): void {
  io.err(
    `note: there are companion files, of ${timeOf(name)}, ${formatBytes(size)} as stored: --files DIR restores them\n`,
  );
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
  tellLeftOut({ version, places, written }, io);
}

function tellLeftOut({ version, places, written }: Omit<Told, "plan">, io: Io): void {
  for (const path of written.left)
    io.err(`warning: ${printable(path)} is there and is left as it is; --force replaces it\n`);
  for (const name of places.strange)
    io.err(`warning: ${printable(name)} is not among the files of the configuration, and is not written\n`);
  for (const { name, why } of version.skipped)
    io.err(`warning: ${printable(name)} was there and is not in the backup: ${why}\n`);
}

function pointJson({ name }: Entry) {
  const { txId, stampMs } = parseCompanionsName(name) ?? {};
  return {
    object: name,
    time: stampMs === undefined ? null : formatTime(stampMs),
    txid: txId === undefined ? null : formatTxId(txId),
  };
}

function writtenJson(done: WrittenCompanions | undefined) {
  const failed = (done?.failed ?? []).map(({ path, error: { code, message, hint } }) => {
    return { path, error: { code, message, hint } };
  });
  return { written: done?.written ?? [], left: done?.left ?? [], failed };
}

function leftOutJson({ version, places }: Pick<ChosenCompanions, "version" | "places">) {
  return {
    strange: places.strange,
    skipped: version.skipped.map(({ name, why }) => ({ name, why })),
  };
}
