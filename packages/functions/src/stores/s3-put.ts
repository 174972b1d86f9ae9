// Write-once on S3: the server refuses to overwrite where it can, and where it cannot we look first. Every answer that
// leaves a doubt is settled by looking at what is stored.

import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { bodySize, gather, haveSameBytes, openBody } from "../body.ts";
import type { CallOptions, ReplayableBody, StoreBody } from "../store.ts";
import { head, putBytes, type S3Bucket, type Written } from "./s3-bucket.ts";
import { copyInParts, isResumable } from "./s3-copy.ts";
import { wasCut } from "./s3-errors.ts";
import { readObject } from "./s3-read.ts";
import { partBytes, uploadParts } from "./s3-upload.ts";

/** Writers of one name that get in each other's way are few, and soon done. */
const roundsMax = 8;

/** An object up to this size is written twice to see whether a server keeps its word. */
const trialBytesMax = 64 * 1024;

/**
 * Whether a server refuses to overwrite, for each of the two ways to write: where it does not, does not take the
 * condition at all, or has not shown it yet, a look goes before every write.
 */
export interface WriteOnce {
  whole: "untested" | "kept" | "ignored";
  parts: "untested" | "kept" | "ignored";
  trial?: Promise<void>;
}

interface Target {
  readonly bucket: S3Bucket;
  readonly writeOnce: WriteOnce;
  readonly key: string;
  readonly where: string;
  readonly body: StoreBody;
  readonly call: CallOptions;
}

export async function putObject(target: Target): Promise<"stored" | "present"> {
  const { body, where, call } = target;
  if (bodySize(body) > partBytes) return rounds(target, "parts", (isNew) => putParts(target, isNew));
  const bytes =
    body instanceof Uint8Array ? body : await gather(openBody(body, where, call.signal), body.size, where);
  return rounds({ ...target, body: bytes }, "whole", (isNew) => putWhole(target, bytes, isNew));
}

type Outcome = Written | "present";

async function rounds(
  target: Target,
  way: "whole" | "parts",
  write: (isNew: boolean) => Promise<Outcome>,
): Promise<"stored" | "present"> {
  const { writeOnce, where, call } = target;
  let phantoms = 0;
  for (let round = 1; round <= roundsMax; round++) {
    // A server that finds an object twice where there is none takes a delete marker for one.
    const isNew = writeOnce[way] !== "ignored" && phantoms < 2;
    // What is large is looked for first: to be told only after the last part that it is there costs too much. So is
    // everything, until the server has shown that it keeps its word.
    const mustLook = way === "parts" || !isNew || writeOnce[way] === "untested";
    if (mustLook && (await isPresent(target))) return "present";
    const outcome = await write(isNew);
    if (outcome === "stored" || outcome === "present") return outcome;
    // That another writer was at work (`again`) proves nothing.
    if (isNew && outcome === "refused") writeOnce[way] = "ignored";
    if (isNew && outcome === "exists") writeOnce[way] = "kept";
    if (outcome === "exists") {
      if (await isPresent(target)) return "present";
      phantoms += 1;
    }
    if (outcome === "again") await sleep(25 * 2 ** round * (0.5 + Math.random()), undefined, call);
  }
  throw new PageferryError("unavailable", `${where}: other writers of this name were at work all the time`);
}

async function putWhole(target: Target, bytes: Uint8Array, isNew: boolean): Promise<Outcome> {
  const { bucket, key, where, call } = target;
  let outcome: Written;
  try {
    outcome = await putBytes(bucket, key, bytes, { ...call, where, isNew });
  } catch (error) {
    // A server that refuses a body before it has come may cut the line, and its answer with it.
    if (!wasCut(error) || !(await isPresentOr(target, error))) throw error;
    return "present";
  }
  if (outcome === "stored" && isNew && bytes.length <= trialBytesMax) await tryOut(target, bytes);
  return outcome;
}

async function putParts(target: Target, isNew: boolean): Promise<Outcome> {
  const { bucket, key, where, body, call } = target;
  const size = bodySize(body);
  const options = { ...call, where, size, isNew };
  const outcome = isResumable(body)
    ? await copyInParts(bucket, key, body, options)
    : await uploadParts(bucket, key, body, options);
  if (typeof outcome === "string") return outcome;
  if (await isPresentOr(target, outcome.error)) return "present";
  throw outcome.error;
}

/**
 * The first object is written again, as if it were new: a server that keeps its word refuses. It does no harm where the
 * server does not, for the bytes are the same.
 */
async function tryOut({ writeOnce, bucket, key, where }: Target, bytes: Uint8Array): Promise<void> {
  if (writeOnce.whole !== "untested") return;
  writeOnce.trial ??= (async () => {
    try {
      const outcome = await putBytes(bucket, key, bytes, { where, isNew: true });
      if (outcome === "again") delete writeOnce.trial;
      else if (writeOnce.whole === "untested") writeOnce.whole = outcome === "exists" ? "kept" : "ignored";
    } catch {
      // The object is stored; the next one is the trial.
      delete writeOnce.trial;
    }
  })();
  await writeOnce.trial;
}

/** After a failure that left a doubt: whether the object is there. If that cannot be found out, the failure stands. */
async function isPresentOr(target: Target, failure: unknown): Promise<boolean> {
  try {
    return await isPresent(target);
  } catch (error) {
    target.call.signal?.throwIfAborted();
    if (isPageferryError(error, "unavailable")) throw failure;
    throw error;
  }
}

/** Whether the very bytes are stored; false if nothing is. Other bytes are a `conflict`. */
async function isPresent({ bucket, key, where, body, call }: Target): Promise<boolean> {
  const found = await head(bucket, key, where, call);
  if (found === undefined) return false;
  const conflict = () =>
    new PageferryError("conflict", `${where}: ${found.size} other bytes are stored under this name`);
  if (found.size !== bodySize(body)) throw conflict();
  const digest = body instanceof Uint8Array ? undefined : (body as ReplayableBody).sha256;
  if (digest !== undefined && found.sha256 !== undefined) {
    if (digest !== found.sha256) throw conflict();
    return true;
  }
  let stored: ReadableStream<Uint8Array>;
  try {
    stored = await readObject(bucket, key, where, call);
  } catch (error) {
    // Somebody removed it meanwhile.
    if (isPageferryError(error, "not-found")) return false;
    throw error;
  }
  if (!(await haveSameBytes(stored, openBody(body, where, call.signal)))) throw conflict();
  return true;
}
