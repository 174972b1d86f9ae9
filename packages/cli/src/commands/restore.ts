// `pageferry restore -o OUT FROM`: brings one point back as a file, whole and checked, or leaves OUT as it was.

import { stat } from "node:fs/promises";
import {
  counted,
  errorTable,
  formatStateHash,
  formatTxId,
  isPageferryError,
  PageferryError,
  type RestorePlan,
} from "@pageferry/format";
import { type RestoreFileResult, restoreFile } from "@pageferry/format/node";
import { type BackupSource, openBackupSource } from "../backup-source.ts";
import { type CommandEnd, type CommandSpec, fromDescription } from "../command.ts";
import { planCompanions, prepareCompanions } from "../companion-restore.ts";
import { followTo } from "../follow/command.ts";
import type { Io } from "../io.ts";
import { createProgress } from "../progress.ts";
import { restoreAll } from "../restore-all.ts";
import { type InPlaceJudge, inPlaceJudge } from "../restore-in-place.ts";
import {
  type RestoreOptions,
  refuseContradiction,
  restoreOptions,
  restoreTarget,
} from "../restore-options.ts";
import { formatBytes, formatTime } from "../table.ts";
import { topBuckets } from "../top-buckets.ts";

/** The command. */
export const restoreCommand: CommandSpec<RestoreOptions> = {
  name: "restore",
  summary: "restore a point to a file",
  arguments: [{ syntax: "[from...]", description: fromDescription }],
  options: restoreOptions,
  examples: `
Examples:
  pageferry restore -o app.db pageferry-data/replica/app                               the newest point
  pageferry restore -o app.db --txid 00000000000001c3 pageferry-data/replica/app       one transaction
  pageferry restore -o app.db --timestamp 2026-11-22T13:07:11Z file:///backups/app     the last point not later
  pageferry restore -o app.db s3://backups/app sftp://backup@nas/srv/app                what one lacks from the other
  pageferry restore -o app.db --config pageferry.yml app                               from all its replicas
  pageferry restore -o app.db http://127.0.0.1:7373/v1/databases/app                   through a host
  pageferry restore -o app.db --manifest-key host.pub http://backup:7373/v1/databases/app  that must have signed it
  pageferry restore -o app.db --files app-files pageferry-data/replica/app              with its companion files
  pageferry restore -o app.db manifest.json                                            by a manifest that was saved
  pageferry restore -o app.db --if-db-not-exists --if-replica-exists http://backup:7373/v1/databases/app   at a first start
  pageferry restore -o app.db --dry-run --json pageferry-data/replica/app              what would be fetched
  pageferry restore --all restored http://backup:7373                                  every database of a host
  pageferry restore --all restored --timestamp 2026-11-22T13:07:11Z s3://backups       all as they were at that time
  pageferry restore --follow -o standby.db http://backup:7373/v1/databases/app         a warm standby, until SIGTERM
  pageferry restore --follow --interval 10s -o standby.db s3://backups/app

OUT is written beside itself and renamed when it is whole and checked. A file that is there is refused without --force, and
one that a process holds locked always. Stop the application before you put a restored file in its place. A file of Vault, Consul,
LND or containerd in its place does harm: it takes --acknowledge and the words that the refusal names.
--all replaces nothing without --force; one that fails does not stop the others, and the exit code is that of the first. --follow replaces
OUT by rename: it is a sound file whenever it is opened, for reading only. Who wrote to it is told (exit code 5), and keeps what was written.
A host's token is PAGEFERRY_RESTORE_TOKEN, else PAGEFERRY_TOKEN; for a host on this machine, DIR/token.`,
  async run(froms, options, io) {
    refuseContradiction(options);
    if (options.all !== undefined) return restoreAll(froms, { ...options, all: options.all }, io);
    if (froms.length === 0)
      throw new PageferryError("bad-request", "FROM is missing: which backup is meant?");
    if (options.follow) return followTo(froms, options, io);
    return restoreOne(froms, options, io);
  },
};

async function restoreOne(
  froms: readonly string[],
  options: Partial<RestoreOptions>,
  io: Io,
): Promise<CommandEnd | undefined> {
  const { output = "", json = false } = options;
  if (options.ifDbNotExists && (await isThere(output)))
    return void say(io, json, { skipped: `${output} exists` });
  await using source = await openUnlessMissing(froms, options, io);
  if (source === undefined) return void say(io, json, { skipped: `${froms.join(" and ")} holds no backup` });
  const target = restoreTarget(options);
  const plan = await source.plan(target, io.signal);
  for (const warning of plan.warnings) io.err(`warning: ${warning}\n`);
  if (options.dryRun) {
    const files = await planCompanions({ froms, source, plan, target, options }, io);
    if (!options.force && (await isThere(output)))
      io.err(`warning: ${output} is there: without --force it is not replaced\n`);
    const planned = { ...planToJson(plan), files: files.json };
    return void io.out(json ? `${JSON.stringify(planned)}\n` : `${formatPlan(plan, source)}${files.words}`);
  }
  const judge = await inPlaceJudge(froms, output, options, io);
  judge();
  const companions = await prepareCompanions({ froms, source, plan, target, options }, io);
  const result = await carryOut(plan, source, { ...options, output, json, judge }, io);
  if (!json) io.out(formatResult(result, output));
  const failure = await companions.write();
  if (json) {
    const files = companions.json === undefined ? {} : { files: companions.json() };
    io.out(`${JSON.stringify({ ...resultToJson(result, output), ...files, ...failureJson(failure) })}\n`);
  }
  return failure && { exitCode: errorTable[failure.code].exitCode };
}

async function carryOut(
  plan: RestorePlan,
  source: BackupSource,
  options: Partial<RestoreOptions> & {
    readonly output: string;
    readonly json: boolean;
    readonly judge: InPlaceJudge;
  },
  io: Io,
): Promise<RestoreFileResult> {
  using progress = createProgress(io, "restore", { json: options.json });
  return await restoreFile({
    plan,
    readers: source.readers,
    stallMs: source.stallMs,
    output: options.output,
    force: options.force,
    parallelism: options.parallelism,
    integrity: options.integrityCheck,
    signal: io.signal,
    beforePublish: async (path) => options.judge(await topBuckets(path)),
    onProgress: ({ bytes, total }) => progress.update(bytes, total),
    replan: (without, point) =>
      source.plan({ generation: point.generation, txId: point.txId }, io.signal, without),
  });
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

async function openUnlessMissing(
  froms: readonly string[],
  options: Partial<RestoreOptions>,
  io: Io,
): Promise<BackupSource | undefined> {
  try {
    const { data: dataDir, config, manifestKey, acknowledge } = options;
    const source = await openBackupSource(froms, io, { dataDir, config, manifestKey, acknowledge });
    const isEmpty = options.ifReplicaExists === true && (await source.points(io.signal)).length === 0;
    if (!isEmpty) return source;
    await source[Symbol.asyncDispose]();
    return undefined;
  } catch (error) {
    if (options.ifReplicaExists && isPageferryError(error, "not-found")) return undefined;
    throw error;
  }
}

function say(io: Io, json: boolean, said: { readonly skipped: string }): void {
  io.out(json ? `${JSON.stringify(said)}\n` : `nothing to do: ${said.skipped}\n`);
}

function planToJson(plan: RestorePlan) {
  return {
    dryRun: true,
    generation: plan.generation,
    txid: formatTxId(plan.txId),
    time: plan.stampMs === null ? null : formatTime(plan.stampMs),
    bytes: plan.bytes,
    objects: [plan.snapshot, ...plan.steps].map(({ name, size, kind }) => ({ name, size, kind })),
  };
}

function formatPlan(plan: RestorePlan, source: BackupSource): string {
  const lines = [
    `would restore ${formatTxId(plan.txId)} of generation ${plan.generation} (${formatTime(plan.stampMs)}) from ${source.name}`,
    `${counted(1 + plan.steps.length, "object")}, ${formatBytes(plan.bytes)}:`,
    ...[plan.snapshot, ...plan.steps].map(({ name, size }) => `  ${name}  ${formatBytes(size)}`),
  ];
  return `${lines.join("\n")}\n`;
}

function resultToJson(result: RestoreFileResult, output: string) {
  return {
    output,
    generation: result.generation,
    txid: formatTxId(result.txId),
    time: result.stampMs === null ? null : formatTime(result.stampMs),
    pageSize: result.pageSize,
    pages: result.pages,
    bytes: result.bytes,
    objects: result.objects,
    fetchedBytes: result.fetchedBytes,
    stateHash: result.stateHash === undefined ? null : formatStateHash(result.stateHash),
    check: result.check?.mode ?? "none",
    ms: Math.round(result.ms),
    warnings: result.warnings,
  };
}

/** The database is there, and not all of its files. */
function failureJson(failure: PageferryError | undefined) {
  if (failure === undefined) return {};
  const { code, message, hint } = failure;
  return { error: { code, message, hint } };
}

function formatResult(result: RestoreFileResult, output: string): string {
  const check = result.check === undefined ? "not checked" : `${result.check.mode} check clean`;
  return (
    `restored ${formatTxId(result.txId)} of generation ${result.generation} (${formatTime(result.stampMs)}) to ${output}\n` +
    `${formatBytes(result.bytes)} from ${counted(result.objects, "object")} in ${(result.ms / 1000).toFixed(2)} s, ${check}\n`
  );
}
