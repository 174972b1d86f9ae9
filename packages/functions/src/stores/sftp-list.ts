// Listings of an SFTP server's directory: one directory's names at a time, those above it waiting, never the whole store's.

import { PageferryError } from "@pageferry/format";
import { isTemporaryPath } from "@pageferry/format/node";
import { untilAborted } from "../deadline.ts";
import { type CallOptions, compareNames, type ObjectInfo } from "../store.ts";
import { type Entry, sftpStatus, statusOf } from "./sftp-connection.ts";
import { checkDirectories, fromSftp, pathOf, type SftpPlace, sweepOne } from "./sftp-place.ts";

/** Every object whose name begins with `prefix`, by the bytes of its name; symbolic links are no objects. */
export async function* listPlace(
  place: SftpPlace,
  prefix: string,
  call: CallOptions,
): AsyncGenerator<ObjectInfo> {
  call.signal?.throwIfAborted();
  // A prefix that leaves the root, or cannot begin a name, begins no name.
  if (prefix !== "" && /^\/|\\|\0|(^|\/)\.{0,2}\//.test(prefix)) return;
  const below = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  if (below !== "" && !(await untilAborted(isThere(place, below.slice(0, -1)), call.signal))) return;
  yield* listDirectory(place, below, prefix, call.signal);
}

async function isThere(place: SftpPlace, below: string): Promise<boolean> {
  try {
    return await checkDirectories(place, await place.connect(), below);
  } catch (error) {
    throw fromSftp(error, `listing ${pathOf(place, below)}`);
  }
}

/** `below` is "" or ends with a slash. */
async function* listDirectory(
  place: SftpPlace,
  below: string,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ObjectInfo> {
  for (const { name, size } of await untilAborted(sortedEntries(place, below, prefix), signal)) {
    signal?.throwIfAborted();
    if (name.endsWith("/")) yield* listDirectory(place, name, prefix, signal);
    else yield { name, size };
  }
}

/** Full names, directories with a slash at their end: that sorts them to where their objects belong. */
async function sortedEntries(place: SftpPlace, below: string, prefix: string): Promise<ObjectInfo[]> {
  const directory = pathOf(place, below.slice(0, -1));
  const listed: ObjectInfo[] = [];
  try {
    const connection = await place.connect();
    // What is only passed over needs no look.
    const isWanted = (name: string) => place.sweep || !isTemporaryPath(name);
    for (const entry of (await connection.entries(directory, isWanted)) ?? []) {
      if (isTemporaryPath(entry.name)) {
        if (place.sweep) await sweepOne(place, connection, `${directory}/${entry.name}`, entry);
        continue;
      }
      const name = nameOf(below, entry);
      const isWanted = name?.startsWith(prefix) || (name?.endsWith("/") && prefix.startsWith(name));
      if (name !== undefined && isWanted) listed.push({ name, size: entry.size });
    }
  } catch (error) {
    // A directory that was removed while it was listed: what came of it is not all of it.
    if (statusOf(error) === sftpStatus.noSuchFile) {
      throw new PageferryError("unavailable", `listing ${directory}: it changed meanwhile`, { cause: error });
    }
    throw fromSftp(error, `listing ${directory}`);
  }
  return listed.sort((a, b) => compareNames(a.name, b.name));
}

function nameOf(below: string, entry: Entry): string | undefined {
  if (entry.kind === "file") return `${below}${entry.name}`;
  return entry.kind === "directory" ? `${below}${entry.name}/` : undefined;
}
