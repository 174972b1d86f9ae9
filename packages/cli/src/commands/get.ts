// `pageferry get [FROM] DB/bucket/key`: one value as it was at any point, out of the backup, without a restore.

import { open, rm } from "node:fs/promises";
import { PageferryError } from "@pageferry/format";
import { type CommandSpec, jsonOption } from "../command.ts";
import { inspectNotes, inspectOptions, parseInspectPath } from "../inspect-path.ts";
import { openInspector } from "../inspector.ts";
import type { Io } from "../io.ts";
import { type RestoreOptions, restoreTarget } from "../restore-options.ts";
import { terminalText } from "../terminal-text.ts";

interface GetFlags
  extends Pick<RestoreOptions, "txid" | "timestamp" | "generation" | "data" | "config" | "json"> {
  readonly host: string;
  readonly output: string;
}

/** What is shown at once on a terminal: more than anybody reads there. */
const shownBytesMax = 1024 * 1024;

/** The command. */
export const getCommand: CommandSpec<GetFlags> = {
  name: "get",
  summary: "print one value at any point, without a restore",
  arguments: [{ syntax: "<from-and-path...>", description: "[FROM...] DB/bucket/.../key" }],
  options: [
    ...inspectOptions,
    {
      flags: "-o, --output <file>",
      description: "write it to a file, which must not be there, for its owner alone",
    },
    { ...jsonOption, description: "print JSON for scripts, the value in base64" },
  ],
  examples: `
Examples:
  pageferry get app/users/alice                                         from the host that runs here
  pageferry get app/users/alice --txid 00000000000001c3 | jq .          as it was then
  pageferry get pageferry-data/replica app/blobs/hex:00ff -o blob.bin   straight from a replica
${inspectNotes}
The value is printed byte for byte; to a terminal only if it is text. Exit code 3: there is no such key.`,
  async run(args, flags, io) {
    const { output, host, data, config, json = false } = flags;
    const { database, names } = parseInspectPath(args.at(-1) ?? "");
    const key = names.at(-1);
    if (key === undefined)
      throw new PageferryError("bad-request", "a key is expected: DB/bucket/key", {
        hint: "`pageferry ls` shows the buckets and keys of a database.",
      });
    const options = { target: restoreTarget(flags), host, data, config };
    await using inspector = await openInspector(args.slice(0, -1), database, io, options);
    const value = await inspector.get(names.slice(0, -1).join("/"), key);
    if (output !== undefined) return writeNew(output, value);
    if (json) {
      const bytes = Buffer.concat(await Array.fromAsync(value));
      return io.out(`${JSON.stringify({ bytes: bytes.length, base64: bytes.toString("base64") })}\n`);
    }
    if (io.isOutTerminal) return show(value, io);
    for await (const piece of value) await io.outBytes(piece);
  },
};

async function writeNew(path: string, value: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, "wx", 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "EEXIST")
      throw new PageferryError("exists", `${path} exists`, { cause, hint: "Choose another file." });
    throw new PageferryError("unreadable", `${path} cannot be written (${cause.code})`, {
      cause,
      hint: "Choose a place where you may write.",
    });
  });
  try {
    for await (const piece of value) await file.writeFile(piece);
    await file.close();
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error;
  }
}

async function show(value: AsyncIterable<Uint8Array>, io: Io): Promise<void> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of value) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > shownBytesMax) throw notShown("it is large");
  }
  const text = terminalText(Buffer.concat(pieces));
  if (text === undefined) throw notShown("it is no text");
  io.out(text.endsWith("\n") ? text : `${text}\n`);
}

function notShown(why: string): PageferryError {
  return new PageferryError("bad-request", `the value is not shown on a terminal: ${why}`, {
    hint: "Write it to a file with -o FILE, or pipe it, for example into `xxd`.",
  });
}
