// A directory on an SFTP server as the parts of the driver share it: its paths, its connection, the directories below it
// that are known to be plain ones, and what a server's refusal means in our words.

import { basename } from "node:path/posix";
import { type ErrorCode, PageferryError } from "@pageferry/format";
import { isTemporaryPath, temporaryPath } from "@pageferry/format/node";
import type { Slots } from "../slots.ts";
import { type Attributes, type SftpConnection, sftpStatus, statusOf } from "./sftp-connection.ts";

/** Directories whose way down is known to hold no symbolic link; a bound, not a limit. */
const knownDirectoriesMax = 4096;

/** A writer is done with its temporary file, or writes to it, within this time; one that is older has no writer. */
const leftoverAgeMs = 60 * 60 * 1000;

/** What the parts of the driver share. */
export interface SftpPlace {
  /** Without a slash at its end; "" is the server's root. */
  readonly root: string;
  /** The open connection, or a new one. */
  readonly connect: () => Promise<SftpConnection>;
  /** Writes and reads under way, of all objects together: what a slow line can carry before a request counts as lost. */
  readonly writes: Slots;
  readonly reads: Slots;
  readonly sweep: boolean;
  readonly now: () => number;
  /** Directories below the root, "" for itself; `written`: also made by us, and swept. */
  readonly known: Map<string, "checked" | "written">;
  /** Temporary files of our own that are being written: never leftovers, whatever the server's clock says. */
  readonly writing: Set<string>;
  /** Whether the server can give a file a second name. */
  links: "untried" | "work" | "none";
}

/** The directory that a configured path names: absolute, or relative to where a login begins, as `~/` says, too. */
export function rootOf(path: string): string {
  const relative = path.replace(/^\/?~(\/|$)/, "");
  return (relative === "" ? "." : relative).replace(/\/+$/, "");
}

/** Where the directory of a name lies, seen from the root: "" for the root itself. */
export function directoryOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf("/")));
}

/** The path on the server of an object, or of a directory below the root. */
export function pathOf(place: SftpPlace, name: string): string {
  if (name === "") return place.root === "" ? "/" : place.root;
  return `${place.root}/${name}`;
}

/** A new name in a directory, which listings leave out. */
export function temporaryIn(directory: string): string {
  return `${directory}/${basename(temporaryPath("/"))}`;
}

/** What is under a path, or `undefined`. */
export async function lookAt(connection: SftpConnection, path: string): Promise<Attributes | undefined> {
  try {
    return await connection.look(path);
  } catch (error) {
    if (statusOf(error) === sftpStatus.noSuchFile) return undefined;
    throw error;
  }
}

/**
 * Tells whether a directory is there; throws `bad-config` if the way to it, below the root, leads through a symbolic link:
 * names are checked as text, and a link would lead out of the root all the same.
 */
export async function checkDirectories(
  place: SftpPlace,
  connection: SftpConnection,
  below: string,
): Promise<boolean> {
  if (place.known.has(below)) return true;
  const parts = below === "" ? [] : below.split("/");
  const paths = parts.map((_, index) => pathOf(place, parts.slice(0, index + 1).join("/")));
  const root = connection.follow(pathOf(place, "")).catch((error: unknown) => {
    if (statusOf(error) === sftpStatus.noSuchFile) return undefined;
    throw error;
  });
  const found = await Promise.all([root, ...paths.map((path) => lookAt(connection, path))]);
  for (const [index, attributes] of found.entries()) {
    if (attributes?.kind === "link") {
      throw new PageferryError(
        "bad-config",
        `${paths[index - 1]} is a symbolic link, which may lead anywhere`,
        {
          hint: "Put a directory in its place, or name what it leads to as the replica's own path.",
        },
      );
    }
    if (attributes?.kind !== "directory") return false;
  }
  remember(place, below, "checked");
  return true;
}

/** Makes an object's directory, and once per directory the owner removes what killed writers left in it. */
export async function prepareDirectory(
  place: SftpPlace,
  connection: SftpConnection,
  below: string,
): Promise<void> {
  if (place.known.get(below) === "written") return;
  if (!(await checkDirectories(place, connection, below))) {
    await makeDirectories(connection, pathOf(place, below));
    await checkDirectories(place, connection, below);
  }
  if (place.sweep) await sweepDirectory(place, connection, below);
  remember(place, below, "written");
}

async function makeDirectories(connection: SftpConnection, path: string): Promise<void> {
  const parent = parentOf(path);
  try {
    await connection.makeDirectory(path);
  } catch (error) {
    if (statusOf(error) === sftpStatus.noSuchFile && parent !== undefined) {
      await makeDirectories(connection, parent);
      return makeDirectories(connection, path);
    }
    // Version 3 has no word for "it is there already".
    const there = await connection.follow(path).catch(() => undefined);
    if (there?.kind !== "directory") throw error;
  }
  if (parent !== undefined) await syncDirectory(connection, parent);
}

function parentOf(path: string): string | undefined {
  const cut = path.lastIndexOf("/");
  if (cut < 0) return path === "." ? undefined : ".";
  return cut === 0 ? undefined : path.slice(0, cut);
}

/** Makes the names in a directory durable where the server can; where it cannot, its own order must do. */
async function syncDirectory(connection: SftpConnection, path: string): Promise<void> {
  try {
    await syncOpened(connection, await connection.open(path, "read"));
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
  }
}

/** Syncs what is open, as far as the server can, and closes it. All is sent at once: a session answers in order. */
export async function syncOpened(connection: SftpConnection, handle: Buffer): Promise<void> {
  const [synced] = await Promise.allSettled([connection.sync(handle), connection.close(handle)]);
  if (synced.status === "rejected" && statusOf(synced.reason) === undefined) throw synced.reason;
}

async function sweepDirectory(place: SftpPlace, connection: SftpConnection, below: string): Promise<void> {
  const path = pathOf(place, below);
  const leftovers = await connection.entries(path, isTemporaryPath);
  for (const entry of leftovers ?? []) await sweepOne(place, connection, `${path}/${entry.name}`, entry);
}

/** Removes a temporary file whose writer must be gone. */
export async function sweepOne(
  place: SftpPlace,
  connection: SftpConnection,
  path: string,
  found: Attributes,
): Promise<void> {
  if (found.kind !== "file" || place.writing.has(path)) return;
  if (place.now() - found.mtimeMs > leftoverAgeMs) await unlinkIfThere(connection, path);
}

/** Removes a file; one that is not there is removed. Tells whether it was. */
export async function unlinkIfThere(connection: SftpConnection, path: string): Promise<void> {
  try {
    await connection.unlink(path);
  } catch (error) {
    if (statusOf(error) !== sftpStatus.noSuchFile) throw error;
  }
}

function remember(place: SftpPlace, below: string, state: "checked" | "written"): void {
  if (place.known.size >= knownDirectoriesMax) place.known.clear();
  place.known.set(below, state);
}

const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  [sftpStatus.noSuchFile]: "not-found",
  [sftpStatus.permissionDenied]: "unauthorized",
  // What OpenSSH makes of a name that is too long, and of one that the file system cannot hold.
  [sftpStatus.badMessage]: "bad-name",
};

/**
 * Turns a server's refusal into a coded error; `doing` is the first half of the sentence. Our own errors, and whatever a
 * signal was aborted with or a body threw, pass unchanged.
 */
export function fromSftp(error: unknown, doing: string): unknown {
  const status = statusOf(error);
  if (status === undefined || error instanceof PageferryError) return error;
  return new PageferryError(
    codeOfStatus[status] ?? "unavailable",
    `${doing}: ${(error as Error).message} (SFTP status ${status})`,
    {
      cause: error,
      ...(status === sftpStatus.permissionDenied
        ? { hint: "Look at the owner and mode of the path on the server." }
        : {}),
    },
  );
}

/** As `fromSftp`, for what writes `bytes`: a server has one word for all failures, so the room there is asked for. */
export async function fromSftpWriting(
  connection: SftpConnection,
  directory: string,
  bytes: number,
  error: unknown,
  doing: string,
): Promise<unknown> {
  if (statusOf(error) !== sftpStatus.failure) return fromSftp(error, doing);
  const room = await connection.room(directory).catch(() => undefined);
  if (room === undefined || room > bytes + 64 * 1024) return fromSftp(error, doing);
  return new PageferryError("disk-full", `${doing}: ${room} bytes are left there`, { cause: error });
}
