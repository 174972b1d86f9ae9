// The body of a restore's worker thread: decodes objects, keeps their pages until they are claimed, and writes them itself, so that page
// bytes never cross threads. restore-threads.ts is its other half.

import { closeSync, fstatSync, openSync, readSync, writeSync, writevSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { CheckResult } from "../bolt/check.ts";
import type { CheckedShare, Share } from "../bolt/check-share.ts";
import { PageferryError } from "../errors.ts";
import { giveBack } from "../give-back.ts";
import type { Part, PartOrder } from "../restore-part.ts";
import { type FrameOrder, type UnpackedFrame, type UnpackOrder, unpackStretch } from "../restore-unpack.ts";
import type { CheckOrder } from "../workbench.ts";
import { fromFileSystem } from "./durable.ts";
import type { ThreadAnswer, ThreadDecoded, ThreadFailure, ThreadRequest } from "./restore-threads.ts";

// What only some work needs is imported when it comes: a thread's start is a good part of a short restore.
const { path } = workerData as { readonly path: string };
const fd = openSync(path, "r+");

/** A decoded object, and the memory that its pages lie in. */
interface Held {
  readonly parts: Part[];
  readonly memory: Uint8Array[];
}

const held = new Map<number, Held>();

async function hold(
  token: number,
  order: PartOrder,
  bytes: Uint8Array,
  isScratch: boolean,
): Promise<ThreadDecoded> {
  const { decodeParts, detached } = await import("../restore-part.ts");
  const storedBytes = bytes.length;
  const parts = decodeParts(order, bytes).map((part) => {
    // Pages of uncompressed segments lie in what was read, which the next object is read into.
    const isView = isScratch && part.frames.some((frame) => frame.buffer === bytes.buffer);
    return isView ? detached(part) : part;
  });
  const memory = new Map<ArrayBufferLike, Uint8Array>();
  for (const part of parts) for (const frame of part.frames) memory.set(frame.buffer, frame);
  if (!isScratch && !memory.has(bytes.buffer)) giveBack(bytes);
  held.set(token, { parts, memory: [...memory.values()] });
  return { facts: parts.map((part) => part.facts), storedBytes };
}

async function finish(token: number, claimed: readonly Uint32Array[]): Promise<void> {
  const { piecesOf } = await import("../workbench.ts");
  for (const [at, runs] of claimed.entries()) {
    const { facts, frames } = partOf(token, at);
    for (const { offset, bytes } of piecesOf(facts, frames, runs)) writeAt(offset, bytes);
  }
  for (const bytes of held.get(token)?.memory ?? []) giveBack(bytes);
  held.delete(token);
}

/** Objects and stretches are read into the same memory, one after the other. */
let scratch = new Uint8Array(0);

function scratchOf(length: number): Uint8Array {
  if (scratch.length < length) {
    giveBack(scratch);
    scratch = new Uint8Array(length);
  }
  return scratch.subarray(0, length);
}

function unpack(order: UnpackOrder, file: string | undefined, given: Uint8Array | undefined): bigint {
  const stored = given ?? readStretch(file as string, order.offset, order.length);
  return unpackStretch(order, stored, (offset, bytes) => writeAt(offset, [bytes]));
}

async function unpackWhole(order: FrameOrder, file: string): Promise<UnpackedFrame> {
  const { unpackFrame } = await import("./restore-frame.ts");
  return unpackFrame(order, file, (offset, bytes) => writeAt(offset, [bytes]));
}

function readStretch(file: string, offset: number, length: number): Uint8Array {
  const into = scratchOf(length);
  withFile(file, (input) => readFully(input, file, into, offset));
  return into;
}

function readFile(file: string, bytesMax: number): Uint8Array {
  return withFile(file, (input) => {
    const { size } = fstatSync(input);
    if (size > bytesMax)
      throw new PageferryError("too-large", `${file}: ${size} bytes, at most ${bytesMax} are read`);
    return readFully(input, file, scratchOf(size), 0);
  });
}

function withFile<Result>(file: string, use: (input: number) => Result): Result {
  let input: number | undefined;
  try {
    input = openSync(file, "r");
    return use(input);
  } catch (error) {
    throw fromFileSystem(error, `reading ${file}`);
  } finally {
    if (input !== undefined) closeSync(input);
  }
}

function readFully(input: number, file: string, into: Uint8Array, offset: number): Uint8Array {
  for (let done = 0; done < into.length; ) {
    const count = readSync(input, into, done, into.length - done, offset + done);
    if (count === 0) throw new PageferryError("corrupt", `${file}: became shorter while it was read`);
    done += count;
  }
  return into;
}

function partOf(token: number, at: number): Part {
  const part = held.get(token)?.parts[at];
  if (part === undefined) throw new RangeError(`part ${at} of object ${token} is not held`);
  return part;
}

function writeAt(offset: number, buffers: readonly Uint8Array[]): void {
  try {
    let rest = buffers;
    let at = offset;
    while (rest.length > 0) {
      const [first] = rest;
      // Most pages are alone, and a plain write of one costs less than a vectored one.
      const written =
        rest.length === 1 && first !== undefined
          ? writeSync(fd, first, 0, first.length, at)
          : writevSync(fd, rest as Uint8Array[], at);
      at += written;
      rest = afterBytes(rest, written);
    }
  } catch (error) {
    throw fromFileSystem(error, `restoring to ${path}`);
  }
}

/** What is left of some buffers after the first `count` bytes; a vectored write may be short, as on a disk that fills up. */
function afterBytes(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (const [index, buffer] of buffers.entries()) {
    if (left < buffer.length) return [buffer.subarray(left), ...buffers.slice(index + 1)];
    left -= buffer.length;
  }
  return [];
}

function answer(request: ThreadRequest): unknown {
  switch (request.type) {
    case "decode":
      return hold(request.token, request.order, request.bytes, false);
    case "decodeFile":
      return hold(request.token, request.order, readFile(request.path, request.bytesMax), true);
    case "derive":
      return partOf(request.token, request.part).deriveMeta();
    case "finish":
      return finish(request.token, request.claimed);
    case "unpack":
      return unpack(request.order, request.path, request.bytes);
    case "unpackFrame":
      return unpackWhole(request.order, request.path);
    case "check":
      return check(request.order);
    case "checkShare":
      return shareOf(request.share);
    default:
      closeSync(fd);
      return parentPort?.close();
  }
}

async function check({ mode, expectedStateHash }: CheckOrder): Promise<CheckResult> {
  const [{ checkDatabase }, { openPageSource }] = await Promise.all([
    import("../bolt/check.ts"),
    import("./page-source.ts"),
  ]);
  using source = openPageSource(path);
  return checkDatabase(source, { mode, expectedStateHash });
}

async function shareOf(share: Share): Promise<CheckedShare> {
  const [{ checkShare }, { openPageSource }] = await Promise.all([
    import("../bolt/check-share.ts"),
    import("./page-source.ts"),
  ]);
  using source = openPageSource(path);
  return checkShare(source, share);
}

function failureOf(error: unknown): ThreadFailure {
  if (error instanceof PageferryError) return { code: error.code, message: error.message, hint: error.hint };
  return {
    code: undefined,
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    hint: "",
  };
}

parentPort?.on("message", async (request: ThreadRequest) => {
  let reply: ThreadAnswer;
  try {
    reply = { id: request.id, value: await answer(request) };
  } catch (error) {
    reply = { id: request.id, failure: failureOf(error) };
  }
  parentPort?.postMessage(reply);
});
