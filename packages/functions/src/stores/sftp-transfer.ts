// Bytes on their way to and from an SFTP server: in pieces of one request each, several of them under way at a time, so
// that a long line is filled and memory is bounded all the same.

import { PageferryError } from "@pageferry/format";
import { untilAborted } from "../deadline.ts";
import { type Handle, type SftpConnection, sftpStatus, statusOf } from "./sftp-connection.ts";
import { fromSftp, type SftpPlace, syncOpened, temporaryIn } from "./sftp-place.ts";

/** One request: under what OpenSSH takes at once, which is 255 KiB. ssh2 divides it further for servers that take less. */
export const pieceBytes = 128 * 1024;

/** Pieces that one stream asks for before its reader wants them: 1 MiB, so that a line of 50 ms carries 20 MiB/s. */
const piecesAheadMax = 8;

/** A file that is being written under a temporary name. What is not given its name is removed when the scope ends. */
export interface Draft extends AsyncDisposable {
  readonly path: string;
  /** Writes all of it, makes it durable, and closes it. */
  write(chunks: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /** Makes the names in its directory durable, as far as the server can. */
  syncDirectory(): Promise<void>;
  /** The temporary name is gone: by a rename, or by the one who says so. */
  forget(): void;
}

/** Makes a temporary file in a directory. Both it and the directory are opened at once. */
export async function openDraft(
  place: SftpPlace,
  connection: SftpConnection,
  directory: string,
): Promise<Draft> {
  const path = temporaryIn(directory);
  place.writing.add(path);
  const [file, folder] = await Promise.allSettled([
    connection.open(path, "create"),
    connection.open(directory, "read"),
  ]);
  const open = new Set(
    [file, folder].flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
  );
  const closeAll = () =>
    Promise.all([...open].map((handle) => connection.close(handle))).catch(() => undefined);
  if (file.status === "rejected") {
    place.writing.delete(path);
    await closeAll();
    throw file.reason;
  }
  let isThere = true;
  return {
    path,
    async write(chunks, signal) {
      await writePieces(place, connection, file.value, chunks, signal, () => open.delete(file.value));
    },
    async syncDirectory() {
      if (folder.status === "rejected" || !open.delete(folder.value)) return;
      await syncOpened(connection, folder.value);
    },
    forget() {
      isThere = false;
    },
    async [Symbol.asyncDispose]() {
      // What fails here is a connection that is lost: the leftover is swept later.
      await closeAll();
      if (isThere) await connection.unlink(path).catch(() => undefined);
      place.writing.delete(path);
    },
  };
}

async function writePieces(
  place: SftpPlace,
  connection: SftpConnection,
  file: Handle,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
  closing: () => void,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const fail = (error: unknown) => void failures.push(error);
  let at = 0;
  try {
    for await (const piece of inPieces(chunks)) {
      signal?.throwIfAborted();
      const give = await place.writes.take();
      const written: Promise<void> = connection
        .write(file, at, piece)
        .catch(fail)
        .finally(() => {
          give();
          underWay.delete(written);
        });
      underWay.add(written);
      at += piece.length;
      if (failures.length > 0) break;
    }
    signal?.throwIfAborted();
    // A session does what it is asked in order, so that nobody has to wait for the writes before he asks for this.
    closing();
    const synced = connection.sync(file).catch((error: unknown) => {
      if (statusOf(error) !== sftpStatus.unsupported) fail(error);
    });
    await Promise.all([synced, connection.close(file).catch(fail), ...underWay]);
  } finally {
    await Promise.all(underWay);
  }
  if (failures.length > 0) throw failures[0];
}

/** The same bytes in pieces of `pieceBytes`, the last one shorter. */
async function* inPieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + pieceBytes - size);
      parts.push(part);
      at += part.length;
      size += part.length;
      if (size < pieceBytes) continue;
      yield joined(parts, size);
      parts = [];
      size = 0;
    }
  }
  if (size > 0) yield joined(parts, size);
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, size);
}

/** Reads a range piece by piece, ahead of its reader. */
export interface RangeReader {
  /** `undefined` after the last piece. */
  next(): Promise<Uint8Array | undefined>;
  /** Closes the file; twice is nothing. The end of the range does it, too. */
  stop(): void;
}

export function readRange(
  place: SftpPlace,
  connection: SftpConnection,
  file: Handle,
  [start, end]: readonly [number, number],
  where: string,
): RangeReader {
  const ahead: Promise<Uint8Array>[] = [];
  let asked = start;
  let aheadMax = 1;
  let isStopped = false;

  async function readPiece(at: number, length: number): Promise<Uint8Array> {
    const give = await place.reads.take();
    try {
      const parts: Uint8Array[] = [];
      for (let done = 0; done < length; ) {
        if (isStopped) throw new PageferryError("unavailable", `${where}: the stream was ended`);
        const part = await connection.read(file, at + done, length - done);
        if (part.length === 0)
          throw new PageferryError(
            "corrupt",
            `${where}: it became shorter than ${end} bytes while it was read`,
          );
        parts.push(part);
        done += part.length;
      }
      return joined(parts, length);
    } catch (error) {
      throw fromSftp(error, `reading ${where}`);
    } finally {
      give();
    }
  }

  function stop(): void {
    if (isStopped) return;
    isStopped = true;
    connection.close(file).catch(() => undefined);
  }

  return {
    async next() {
      while (!isStopped && ahead.length < aheadMax && asked < end) {
        const piece = readPiece(asked, Math.min(pieceBytes, end - asked));
        // It is reported to the reader who comes to it, if one does.
        piece.catch(() => undefined);
        ahead.push(piece);
        asked = Math.min(asked + pieceBytes, end);
      }
      aheadMax = Math.min(2 * aheadMax, piecesAheadMax);
      const first = ahead.shift();
      if (first === undefined) stop();
      return first;
    },
    stop,
  };
}

/** A range as a stream at its reader's pace; it closes the file when it ends, is left, or is aborted. */
export function streamRange(
  reader: RangeReader,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array> {
  const stop = () => {
    signal?.removeEventListener("abort", stop);
    reader.stop();
  };
  signal?.addEventListener("abort", stop);
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          signal?.throwIfAborted();
          const bytes = await untilAborted(reader.next(), signal);
          if (bytes !== undefined) return controller.enqueue(bytes);
          stop();
          controller.close();
        } catch (error) {
          stop();
          controller.error(error);
        }
      },
      cancel: stop,
    },
    { highWaterMark: 0 },
  );
}

/** A range to loop over; leaving the loop closes the file. */
export async function* piecesOf(reader: RangeReader): AsyncGenerator<Uint8Array> {
  try {
    for (;;) {
      const piece = await reader.next();
      if (piece === undefined) return;
      yield piece;
    }
  } finally {
    reader.stop();
  }
}
