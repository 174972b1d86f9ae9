// `pageferry ls [FROM] DB[/bucket…]`: what lies in a bucket at any point, out of the backup, without a restore.

import { nameOfBytes, PageferryError } from "@pageferry/format";
import { type CommandSpec, jsonOption } from "../command.ts";
import { inspectNotes, inspectOptions, parseInspectPath } from "../inspect-path.ts";
import { type InspectEntry, type InspectPart, openInspector } from "../inspector.ts";
import { type RestoreOptions, restoreTarget } from "../restore-options.ts";
import { formatTable } from "../table.ts";

interface LsFlags
  extends Pick<RestoreOptions, "txid" | "timestamp" | "generation" | "data" | "config" | "json"> {
  readonly host: string;
  readonly long: boolean;
  readonly after: string;
  readonly prefix: string;
  readonly limit: number;
}

/** Entries that are shown unless told otherwise: some screens. */
const limitDefault = 1000;

/** Entries that one call may show; they are gathered before they are printed. */
const limitMax = 1_000_000;

/** The command. */
export const lsCommand: CommandSpec<LsFlags> = {
  name: "ls",
  summary: "list buckets and keys at any point, without a restore",
  arguments: [{ syntax: "<from-and-path...>", description: "[FROM...] DB[/bucket/...]" }],
  options: [
    ...inspectOptions,
    { flags: "-l, --long", description: "with the size of each value, and each bucket's sequence" },
    { flags: "--prefix <name>", description: "only names that begin so" },
    { flags: "--after <name>", description: "only what comes after this name" },
    { flags: "--limit <n>", description: `entries to show (default ${limitDefault})`, parse: parseLimit },
    jsonOption,
  ],
  examples: `
Examples:
  pageferry ls app                                                      the buckets of app, from the host that runs here
  pageferry ls app/users --timestamp 2026-11-22T13:07:11Z --long        as they were then
  pageferry ls s3://backups app/users/hex:00ff --prefix a               straight from a replica
  pageferry ls --config pageferry.yml app/users --json | jq -r '.entries[].key'
${inspectNotes}
Buckets are shown with a slash behind them.`,
  async run(args, flags, io) {
    const { json = false, long = false, limit = limitDefault, after, prefix, host, data, config } = flags;
    const { database, names } = parseInspectPath(args.at(-1) ?? "");
    const options = { target: restoreTarget(flags), host, data, config };
    await using inspector = await openInspector(args.slice(0, -1), database, io, options);
    const entries: InspectEntry[] = [];
    let part: InspectPart;
    let next = after;
    do {
      part = await inspector.ls({
        path: names.join("/"),
        after: next,
        prefix,
        limit: limit - entries.length,
      });
      entries.push(...part.entries);
      next = part.next;
    } while (next !== undefined && entries.length < limit);
    if (json) return io.out(`${JSON.stringify(jsonOf(part, entries), null, 1)}\n`);
    io.out(long ? formatLong(entries) : entries.map((entry) => `${shown(entry)}\n`).join(""));
    if (next !== undefined)
      io.err(`there is more: --after ${shown({ key: entries.at(-1)?.key as Uint8Array, kind: "key" })}\n`);
  },
};

function shown({ key, kind }: Pick<InspectEntry, "key" | "kind">): string {
  return `${nameOfBytes(key)}${kind === "bucket" ? "/" : ""}`;
}

function formatLong(entries: readonly InspectEntry[]): string {
  if (entries.length === 0) return "";
  return formatTable(
    ["KIND", "BYTES", "SEQUENCE", "NAME"],
    entries.map((entry) => [entry.kind, String(entry.bytes ?? "-"), entry.sequence ?? "-", shown(entry)]),
  );
}

function jsonOf({ generation, txid, time, next }: InspectPart, entries: readonly InspectEntry[]) {
  const last = entries.at(-1);
  return {
    ...{ generation, txid, time },
    entries: entries.map(({ key, kind, bytes, sequence }) => ({
      ...{ key: nameOfBytes(key), kind },
      ...(kind === "key" ? { bytes } : { sequence }),
    })),
    next: next === undefined || last === undefined ? null : nameOfBytes(last.key),
  };
}

function parseLimit(text: string): number {
  const limit = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= limitMax) return limit;
  throw new PageferryError("bad-request", `--limit: a number from 1 to ${limitMax} is expected`);
}
