// `pageferry files FROM`: the versions of a database's companion files, or the files of one of them.

import { type CompanionsEntry, formatTxId, PageferryError, readCompanions } from "@pageferry/format";
import { type BackupSource, openBackupSource } from "../backup-source.ts";
import { type CommandSpec, dataOption, fromConfigOption, fromDescription, jsonOption } from "../command.ts";
import type { Io } from "../io.ts";
import { pointOptions, type RestoreOptions, restoreTarget } from "../restore-options.ts";
import { formatBytes, formatTable, formatTime } from "../table.ts";
import { printable } from "../terminal-text.ts";

interface FilesOptions
  extends Pick<RestoreOptions, "txid" | "timestamp" | "generation" | "data" | "config" | "json"> {
  readonly at: boolean;
}

/** The command. */
export const filesCommand: CommandSpec<FilesOptions> = {
  name: "files",
  summary: "list the versions of a database's companion files",
  arguments: [{ syntax: "<from...>", description: fromDescription }],
  options: [
    { flags: "--at", description: "the files of one point instead: the newest, or the one that is named" },
    ...pointOptions,
    fromConfigOption,
    dataOption,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry files pageferry-data/replica/app                                   every version, newest first
  pageferry files --at --timestamp 2026-11-22T13:07:11Z s3://backups/app       the files that belong to a point of then
  pageferry files http://127.0.0.1:7373/v1/databases/app --json                through a host

A version holds all files as they were found one after the other: it is not one instant. \`restore --files DIR\` writes them.`,
  async run(froms, options, io) {
    const { json = false, at = false, data: dataDir, config } = options;
    const target = restoreTarget(options);
    if (!at && Object.keys(target).length > 0)
      throw new PageferryError("bad-request", "--txid, --timestamp and --generation are for --at");
    await using source = await openBackupSource(froms, io, { dataDir, config });
    if (at) return showOne(source, options, io);
    const versions = await source.companionVersions(io.signal);
    io.out(json ? `${JSON.stringify({ versions: versions.map(versionJson) })}\n` : formatVersions(versions));
  },
};

function versionJson({ name, generation, txId, stampMs, size }: CompanionsEntry) {
  return { object: name, generation, txid: formatTxId(txId), time: formatTime(stampMs), bytes: size };
}

function formatVersions(versions: readonly CompanionsEntry[]): string {
  if (versions.length === 0) return "no companion files\n";
  const rows = versions.map((one) => [
    ...[formatTime(one.stampMs), formatTxId(one.txId), one.generation, formatBytes(one.size)],
  ]);
  return formatTable(["READ", "TXID", "GENERATION", "SIZE"], rows);
}

async function showOne(source: BackupSource, options: Partial<FilesOptions>, io: Io): Promise<void> {
  const target = restoreTarget(options);
  const plan = await source.plan(target, io.signal);
  const entry = await source.companions(plan, target, io.signal);
  if (entry === undefined) {
    throw new PageferryError("not-found", "there are no companion files of that time", {
      hint: "List what there is with `pageferry files`.",
    });
  }
  const version = await readCompanions(source.readers, entry, { signal: io.signal });
  const time = formatTime(version.stampMs);
  if (options.json) {
    const files = version.files.map(({ name, mode, mtimeMs, bytes }) => {
      return { name, mode: mode.toString(8), modified: formatTime(mtimeMs), bytes: bytes.length };
    });
    io.out(`${JSON.stringify({ object: entry.name, time, files, skipped: version.skipped })}\n`);
    return;
  }
  const rows = version.files.map(({ name, mode, mtimeMs, bytes }) => [
    ...[mode.toString(8).padStart(4, "0"), formatBytes(bytes.length), formatTime(mtimeMs), printable(name)],
  ]);
  io.out(`read at ${time}, with ${formatTxId(version.txId)} the newest\n`);
  io.out(formatTable(["MODE", "SIZE", "MODIFIED", "NAME"], rows));
  for (const { name, why } of version.skipped) io.out(`not taken: ${printable(name)} (${why})\n`);
}
