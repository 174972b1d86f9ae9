// A workbench of worker threads: each decodes, holds and writes; this side only says what. Page bytes stay in the thread that decoded them.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { CheckResult } from "../bolt/check.ts";
import { type CheckedShare, joinShares, type Share } from "../bolt/check-share.ts";
import type { DerivedMeta } from "../bolt/meta.ts";
import { type ErrorCode, PageferryError } from "../errors.ts";
import type { PartFacts, PartOrder } from "../restore-part.ts";
import type { FrameOrder, UnpackedFrame, UnpackOrder } from "../restore-unpack.ts";
import type { CheckOrder, DecodedObject, Workbench } from "../workbench.ts";
import { threadUrl } from "./thread-url.ts";

/** What a thread is asked. */
export type ThreadRequest = { readonly id: number } & (
  | { readonly type: "decode"; readonly token: number; readonly order: PartOrder; readonly bytes: Uint8Array }
  | {
      readonly type: "decodeFile";
      readonly token: number;
      readonly order: PartOrder;
      readonly path: string;
      readonly bytesMax: number;
    }
  | { readonly type: "derive"; readonly token: number; readonly part: number }
  | { readonly type: "finish"; readonly token: number; readonly claimed: readonly Uint32Array[] }
  | {
      readonly type: "unpack";
      readonly order: UnpackOrder;
      readonly bytes?: Uint8Array;
      readonly path?: string;
    }
  | { readonly type: "unpackFrame"; readonly order: FrameOrder; readonly path: string }
  | { readonly type: "check"; readonly order: CheckOrder }
  | { readonly type: "checkShare"; readonly share: Share }
  | { readonly type: "close" }
);

/** An error on its way between threads. */
export interface ThreadFailure {
  /** Absent: no error of ours but a defect, with its stack as message. */
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly hint: string;
}

/** What a thread answers. */
export type ThreadAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: ThreadFailure };

/** What a thread says of a decoded object. */
export interface ThreadDecoded {
  readonly facts: PartFacts[];
  readonly storedBytes: number;
}

/** More threads than this wait for the disk, and each costs some 30 MB. */
const threadsMax = 4;

/** Pages lie outside of the heap: what a thread has in it is short-lived and little. */
const youngHeapMb = 8;

/** Below this a small buffer may lie in memory that others share, and copying it is cheaper than asking. */
const transferBytesMin = 64 * 1024;

interface Thread {
  ask(request: UnnumberedRequest, transfer?: ArrayBuffer[]): Promise<unknown>;
  /** Requests without an answer yet. */
  pending(): number;
  close(): Promise<void>;
}

type WithoutId<Request> = Request extends unknown ? Omit<Request, "id"> : never;
type UnnumberedRequest = WithoutId<ThreadRequest>;

/** Starts threads (by default one per core, at most four) that decode objects and write to the file at `path`. */
export function threadWorkbench(
  path: string,
  threads: number = Math.min(availableParallelism(), threadsMax),
): Workbench & AsyncDisposable {
  const pool = Array.from({ length: threads }, () => startThread(path));
  let tokens = 0;
  const idlest = (): Thread => pool.toSorted((a, b) => a.pending() - b.pending())[0] as Thread;
  const objectOf = async (
    thread: Thread,
    token: number,
    answer: Promise<unknown>,
  ): Promise<DecodedObject> => {
    const { facts, storedBytes } = (await answer) as ThreadDecoded;
    return {
      parts: facts,
      storedBytes,
      deriveMeta: (part) => thread.ask({ type: "derive", token, part }) as Promise<DerivedMeta>,
      finish: (claimed) => thread.ask({ type: "finish", token, claimed }) as Promise<void>,
    };
  };
  return {
    decode(order, bytes) {
      const thread = idlest();
      const token = tokens++;
      const isOwn = bytes.byteLength >= transferBytesMin && bytes.byteLength === bytes.buffer.byteLength;
      const transfer = isOwn && bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [];
      return objectOf(
        thread,
        token,
        thread.ask({ type: "decode", token, order: plain(order), bytes }, transfer),
      );
    },
    decodeFile(order, objectPath, bytesMax) {
      const thread = idlest();
      const token = tokens++;
      const request = { type: "decodeFile", token, order: plain(order), path: objectPath, bytesMax } as const;
      return objectOf(thread, token, thread.ask(request));
    },
    unpack: (order, from) =>
      idlest().ask(
        { type: "unpack", order, ...from },
        "bytes" in from ? own(from.bytes) : [],
      ) as Promise<bigint>,
    unpackFrame: (order, objectPath) =>
      idlest().ask({ type: "unpackFrame", order, path: objectPath }) as Promise<UnpackedFrame>,
    async check(order) {
      const shared = await checkTogether(pool, order);
      return shared ?? ((await idlest().ask({ type: "check", order })) as CheckResult);
    },
    async narrow() {
      await Promise.all(pool.splice(1).map((thread) => thread.close()));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(pool.map((thread) => thread.close()));
    },
  };
}

/** A quick check by all threads at once. Undefined: it takes one who sees everything, to say what is wrong. */
async function checkTogether(
  pool: readonly Thread[],
  { mode, expectedStateHash }: CheckOrder,
): Promise<CheckResult | undefined> {
  if (mode !== "quick" || expectedStateHash === undefined || pool.length === 1) return undefined;
  const asked = pool.map((thread, index) =>
    thread.ask({ type: "checkShare", share: { index, of: pool.length } }),
  );
  return joinShares((await Promise.all(asked)) as CheckedShare[], expectedStateHash);
}

/** Only what a thread needs: the rest of a plan's step need not be cloned. */
function plain({ kind, name, parentTxId, lastTxId, from, to }: PartOrder): PartOrder {
  return { kind, name, parentTxId, lastTxId, from, to };
}

/** The memory of bytes that can be given away whole. */
function own(bytes: Uint8Array): ArrayBuffer[] {
  const { buffer, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && byteLength >= transferBytesMin && byteLength === buffer.byteLength
    ? [buffer]
    : [];
}

function startThread(path: string): Thread {
  const worker = new Worker(threadUrl("restore-thread", import.meta.url), {
    workerData: { path },
    resourceLimits: { maxYoungGenerationSizeMb: youngHeapMb },
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let ids = 0;
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
    for (const promise of waiting.values()) promise.reject(failure);
    waiting.clear();
  };
  worker.on("message", (answer: ThreadAnswer) => {
    const promise = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ("failure" in answer) promise?.reject(errorOf(answer.failure));
    else promise?.resolve(answer.value);
  });
  worker.on("error", (cause: Error) => {
    fail(new PageferryError("unavailable", `a restore thread failed: ${cause.message}`, { cause }));
  });
  worker.on("exit", () =>
    fail(new PageferryError("unavailable", "a restore thread ended before its work was done")),
  );
  return {
    ask(request, transfer = []) {
      if (failure !== undefined) return Promise.reject(failure);
      const id = ids++;
      const promise = Promise.withResolvers<unknown>();
      worker.postMessage({ ...request, id }, transfer);
      waiting.set(id, promise);
      return promise.promise;
    },
    pending: () => waiting.size,
    async close() {
      worker.removeAllListeners("exit");
      await worker.terminate();
      fail(new PageferryError("unavailable", "the restore was ended"));
    },
  };
}

function errorOf(failure: ThreadFailure): Error {
  const { code, message, hint } = failure;
  return code === undefined ? new Error(message) : new PageferryError(code, message, { hint });
}
