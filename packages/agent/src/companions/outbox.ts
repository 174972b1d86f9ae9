// Versions that the host does not have yet, each as the envelope that will bring it, durable beside the shadow: a host that is away for a day gets
// every version of that day, also after a restart. And what was last seen, so that an unchanged set is never sent again.
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  envelopeItemsMax,
  type Generation,
  isPageferryError,
  parseGeneration,
} from "@pageferry/format";
import {
  fromFileSystem,
  isTemporaryPath,
  makeDirectoryDurable,
  writeFileDurable,
} from "@pageferry/format/node";
import { z } from "zod";

/** Versions that wait: above it the oldest are given up. Eight of the largest, thousands of usual ones. */
const waitingBytesMax = 64 * 1024 * 1024;

/** The set that was put here last. */
export interface Noted {
  readonly generation: Generation;
  readonly digest: string;
  readonly stampMs: number;
}

const notedSchema = z.object({
  version: z.literal(1),
  generation: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .transform(parseGeneration),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  stampMs: z.int().min(0),
});

interface Waiting {
  readonly file: string;
  readonly bytes: number;
}

/** A version that waits. */
export interface Entry {
  readonly file: string;
  readonly envelope: Envelope;
}

/** The outbox of one database. */
export interface Outbox {
  noted(): Noted | null;
  isEmpty(): boolean;
  /** Puts an envelope with one version in, durably, and notes its set. Returns how many older ones were given up for it. */
  put(envelope: Envelope, noted: Noted): Promise<number>;
  /**
   * The oldest of one generation, in order; at most `bytesMax`, but one, and no more than an envelope may bring. A file that is no envelope
   * is removed; if it held the set that was noted, none is known any more. Those of a generation that rests are passed over.
   */
  oldest(bytesMax: number, isResting?: (generation: Generation) => boolean): Promise<readonly Entry[]>;
  remove(entries: readonly Entry[]): Promise<void>;
}

const noteName = "noted.json";

/** Of no set. */
const unknownDigest = "0".repeat(64);
const entryPattern = /^([0-9a-f]{12})-([0-9a-f]{64})\.envelope$/;

/**
 * Opens the outbox in a directory, which is made. Errors: those of the disk. A note that cannot be read is none: the set is sent again.
 * `onBroken` is told of each file that was removed because it is no envelope.
 */
export async function openOutbox(
  directory: string,
  onBroken: (file: string) => void = () => {},
): Promise<Outbox> {
  await makeDirectoryDurable(directory);
  let waiting = await readWaiting(directory);
  /** By file, as far as they were read. */
  const generations = new Map<string, Generation>();
  let saved = await readNoted(directory);
  let noted = later(saved, await notedBy(directory, waiting.at(-1)));

  async function writeNote(): Promise<void> {
    if (noted === saved) return;
    const next = noted;
    const json = Buffer.from(`${JSON.stringify({ version: 1, ...next })}\n`);
    await writeFileDurable(join(directory, noteName), json, { overwrite: true });
    saved = next;
  }

  /** A version that waits says what the note says: that a full disk takes none does not matter before it was sent. */
  const saveNote = () => writeNote().catch(() => {});

  async function remove(files: readonly string[]): Promise<void> {
    for (const file of files) await rm(join(directory, file), { force: true });
    waiting = waiting.filter(({ file }) => !files.includes(file));
    for (const file of files) generations.delete(file);
  }

  /** What was in a broken file may be the newest there is: then it is to be put in again. */
  async function giveUp(file: string): Promise<void> {
    const [, , digest] = entryPattern.exec(file) ?? [];
    if (noted !== null && noted.digest === digest) noted = { ...noted, digest: unknownDigest };
    // Before the file goes: what is not known to be gone would not be put in again.
    await writeNote();
    await remove([file]);
    onBroken(file);
  }

  return {
    noted: () => noted,
    isEmpty: () => waiting.length === 0,
    async put(envelope, next) {
      const bytes = encodeEnvelope(envelope);
      const stamp = next.stampMs.toString(16).padStart(12, "0");
      const file = `${stamp}-${next.digest}.envelope`;
      // Given up first: a full disk must not keep the newest out.
      const over = overBound(waiting, bytes.length);
      await remove(over);
      await writeFileDurable(join(directory, file), bytes, { overwrite: true });
      waiting = [...waiting.filter((one) => one.file !== file), { file, bytes: bytes.length }];
      noted = next;
      await saveNote();
      return over.length;
    },
    async oldest(bytesMax, isResting = () => false) {
      const entries: Entry[] = [];
      let total = 0;
      for (const { file, bytes } of waiting) {
        const known = generations.get(file);
        if (known !== undefined && isResting(known)) continue;
        const envelope = await readEntry(join(directory, file));
        if (envelope === undefined) {
          await giveUp(file);
          continue;
        }
        const { generation } = envelope.begin;
        generations.set(file, generation);
        if (isResting(generation)) continue;
        const [first] = entries;
        const isOther = first !== undefined && first.envelope.begin.generation !== generation;
        const isFull = entries.length >= envelopeItemsMax || total + bytes > bytesMax;
        if (isOther || (first !== undefined && isFull)) break;
        total += bytes;
        entries.push({ file, envelope });
      }
      return entries;
    },
    async remove(entries) {
      await remove(entries.map(({ file }) => file));
      await saveNote();
    },
  };
}

function overBound(waiting: readonly Waiting[], added: number): string[] {
  let total = waiting.reduce((sum, { bytes }) => sum + bytes, added);
  const over: string[] = [];
  for (const { file, bytes } of waiting) {
    if (total <= waitingBytesMax) break;
    over.push(file);
    total -= bytes;
  }
  return over;
}

async function readNoted(directory: string): Promise<Noted | null> {
  try {
    const { version: _, ...noted } = notedSchema.parse(
      JSON.parse(await readFile(join(directory, noteName), "utf8")),
    );
    return noted;
  } catch {
    return null;
  }
}

/** What a version that waits says by itself: it may have come without its note. */
async function notedBy(directory: string, last: Waiting | undefined): Promise<Noted | null> {
  const [, stamp, digest] = entryPattern.exec(last?.file ?? "") ?? [];
  if (last === undefined || stamp === undefined || digest === undefined) return null;
  const envelope = await readEntry(join(directory, last.file));
  if (envelope === undefined) return null;
  return { generation: envelope.begin.generation, digest, stampMs: Number.parseInt(stamp, 16) };
}

function later(a: Noted | null, b: Noted | null): Noted | null {
  return a !== null && a.stampMs >= (b?.stampMs ?? 0) ? a : b;
}

async function readWaiting(directory: string): Promise<Waiting[]> {
  try {
    const waiting: Waiting[] = [];
    for (const file of (await readdir(directory)).sort()) {
      if (isTemporaryPath(file)) await rm(join(directory, file), { force: true });
      if (entryPattern.test(file)) waiting.push({ file, bytes: (await stat(join(directory, file))).size });
    }
    return waiting;
  } catch (error) {
    throw fromFileSystem(error, `reading ${directory}`);
  }
}

async function readEntry(path: string): Promise<Envelope | undefined> {
  try {
    return decodeEnvelope(await readFile(path));
  } catch (error) {
    if (isPageferryError(error) || (error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw fromFileSystem(error, `reading ${path}`);
  }
}
