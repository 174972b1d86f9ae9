// The body of a restore's worker thread: decodes objects, keeps their pages until they are claimed, and writes them itself, so that page
// bytes never cross threads. restore-threads.ts is its other half.

import { closeSync, openSync, writevSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { checkDatabase } from "../bolt/check.ts";
import { PageferryError } from "../errors.ts";
import { decodeParts, type Part } from "../restore-part.ts";
import { piecesOf } from "../workbench.ts";
import { fromFileSystem } from "./durable.ts";
import { openPageSource } from "./page-source.ts";
import type { ThreadAnswer, ThreadFailure, ThreadRequest } from "./restore-threads.ts";

const { path } = workerData as { readonly path: string };
const fd = openSync(path, "r+");
const held = new Map<number, Part[]>();

function partOf(token: number, at: number): Part {
  const part = held.get(token)?.[at];
  if (part === undefined) throw new RangeError(`part ${at} of object ${token} is not held`);
  return part;
}

function writePart(part: Part, claimed: Uint32Array): void {
  for (const { offset, bytes } of piecesOf(part.facts, part.frames, claimed)) {
    try {
      let rest = bytes;
      let at = offset;
      while (rest.length > 0) {
        const written = writevSync(fd, rest as Uint8Array[], at);
        at += written;
        rest = afterBytes(rest, written);
      }
    } catch (error) {
      throw fromFileSystem(error, `restoring to ${path}`);
    }
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

function answer(request: ThreadRequest): { readonly value: unknown; readonly transfer?: ArrayBuffer[] } {
  switch (request.type) {
    case "decode": {
      const parts = decodeParts(request.order, request.bytes);
      held.set(request.token, parts);
      const facts = parts.map((part) => part.facts);
      const bytes = parts.reduce(
        (sum, part) => part.frames.reduce((all, frame) => all + frame.length, sum),
        0,
      );
      return { value: { facts, bytes } };
    }
    case "derive":
      return { value: partOf(request.token, request.part).deriveMeta() };
    case "write":
      return { value: writePart(partOf(request.token, request.part), request.claimed) };
    case "release":
      return { value: held.delete(request.token) };
    case "check": {
      using source = openPageSource(path);
      const { mode, expectedStateHash } = request.order;
      return { value: checkDatabase(source, { mode, expectedStateHash }) };
    }
    default:
      closeSync(fd);
      return { value: parentPort?.close() };
  }
}

function failureOf(error: unknown): ThreadFailure {
  if (error instanceof PageferryError) return { code: error.code, message: error.message, hint: error.hint };
  return {
    code: undefined,
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    hint: "",
  };
}

parentPort?.on("message", (request: ThreadRequest) => {
  let reply: ThreadAnswer;
  try {
    reply = { id: request.id, value: answer(request).value };
  } catch (error) {
    reply = { id: request.id, failure: failureOf(error) };
  }
  parentPort?.postMessage(reply);
});
