// Where an agent is with one database, as a small durable file: generations, what was acknowledged, and the page table's
// checkpoint. What was captured is not here but in the shadow; an older cursor only means that something is sent twice.
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  formatStateHash,
  formatTxId,
  type Generation,
  type GenerationParent,
  type GenerationReason,
  PageferryError,
  parseGeneration,
  parseStateHash,
  parseTxId,
  type StateHash,
  type TxId,
} from "@pageferry/format";
import { fromFileSystem, makeDirectoryDurable, writeFileDurable } from "@pageferry/format/node";
import { z } from "zod";
import type { FileIdentity } from "./identity.ts";
import { keepReserve, writeWithReserve } from "./reserve.ts";

/** One generation, from its begin until it is all sent and stored. */
export interface GenerationCursor {
  readonly generation: Generation;
  readonly parent: GenerationParent | null;
  readonly reason: GenerationReason;
  /** `null` until the host has said what the highest is. */
  readonly epoch: number | null;
  readonly pageSize: number;
  readonly via: "bridge" | "snapshot";
  /**
   * The parent's state, where the bridge stands on the point that the file was restored to: this machine need never have had it, and the
   * host is asked whether it does before anything is sent. `null`: it stands on what was captured here, or there is no bridge.
   */
  readonly parentStateHash: StateHash | null;
  /** The newest snapshot that was acknowledged. */
  readonly baseTxId: TxId | null;
  /** When that was, ms. */
  readonly baseAtMs: number;
  /** Nothing is sent until a snapshot at or after this transaction was acknowledged. */
  readonly baseNeededFrom: TxId | null;
  /** The last transaction of an acknowledged segment. */
  readonly acknowledgedTxId: TxId | null;
  /** Nothing more of it is sent: what its points would stand on is gone, or the host has another history of it. */
  readonly isAbandoned: boolean;
  /** What its source calls the history, where it wants to be told what of it is stored. */
  readonly origin: string | null;
}

/** The page table on disk: of exactly this state. */
export interface TableCheckpoint {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stateHash: StateHash;
  /** Name of the file in the database's directory. */
  readonly file: string;
}

/** All that is remembered of one database. */
export interface Cursor {
  /** Oldest first; the last is the one being captured. */
  readonly generations: readonly GenerationCursor[];
  /** The file that the last generation was read from. */
  readonly identity: FileIdentity | null;
  readonly checkpoint: TableCheckpoint | null;
  /** The highest epoch that this agent gave or heard of. */
  readonly epochMax: number;
  /** The newest stamp given; none that follows is smaller. */
  readonly stampMs: number;
  /** The host holds another history of the last generation: the next start begins a new one. */
  readonly isForked: boolean;
}

/** A database of which nothing is known. */
export const emptyCursor: Cursor = {
  generations: [],
  identity: null,
  checkpoint: null,
  epochMax: 0,
  stampMs: 0,
  isForked: false,
};

const txIdText = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseTxId);
const generationText = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseGeneration);
const stateHashText = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .transform(parseStateHash);

const generationSchema = z.object({
  generation: generationText,
  parent: z.object({ generation: generationText, txId: txIdText }).nullable(),
  reason: z.enum(["first", "restored", "replaced", "unprovable", "fork"]),
  epoch: z.int().min(0).nullable(),
  pageSize: z.int().min(1),
  via: z.enum(["bridge", "snapshot"]),
  parentStateHash: stateHashText.nullable().default(null),
  baseTxId: txIdText.nullable(),
  baseAtMs: z.number(),
  baseNeededFrom: txIdText.nullable(),
  acknowledgedTxId: txIdText.nullable(),
  isAbandoned: z.boolean(),
  origin: z.string().nullable().default(null),
});

const cursorSchema = z.object({
  version: z.literal(1),
  generations: z.array(generationSchema),
  identity: z
    .object({
      device: z.string(),
      inode: z.string(),
      birthtimeNs: z.string(),
      bootId: z.string(),
      machineId: z.string(),
    })
    .nullable(),
  checkpoint: z
    .object({
      generation: generationText,
      txId: txIdText,
      stateHash: stateHashText,
      file: z.string().regex(/^[\w.-]+$/),
    })
    .nullable(),
  epochMax: z.int().min(0),
  stampMs: z.number(),
  isForked: z.boolean(),
});

/** Reads a cursor; `corrupt` for what is not one, `unsupported-version` for a later one. */
export function parseCursor(text: string): Cursor {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PageferryError("corrupt", "cursor: it is not JSON", { cause });
  }
  const version = typeof json === "object" && json !== null && "version" in json ? json.version : undefined;
  if (typeof version === "number" && version > 1) {
    throw new PageferryError("unsupported-version", `cursor: version ${version}, this program reads 1`);
  }
  const result = cursorSchema.safeParse(json);
  if (!result.success) {
    throw new PageferryError("corrupt", `cursor: ${z.prettifyError(result.error)}`, { cause: result.error });
  }
  const { version: _, ...cursor } = result.data;
  return cursor;
}

/** Writes a cursor as JSON. */
export function formatCursor(cursor: Cursor): string {
  const { generations, checkpoint, ...rest } = cursor;
  const json = {
    version: 1,
    ...rest,
    checkpoint: checkpoint && {
      ...checkpoint,
      txId: formatTxId(checkpoint.txId),
      stateHash: formatStateHash(checkpoint.stateHash),
    },
    generations: generations.map((generation) => ({
      ...generation,
      parent: generation.parent && { ...generation.parent, txId: formatTxId(generation.parent.txId) },
      parentStateHash:
        generation.parentStateHash === null ? null : formatStateHash(generation.parentStateHash),
      baseTxId: textOf(generation.baseTxId),
      baseNeededFrom: textOf(generation.baseNeededFrom),
      acknowledgedTxId: textOf(generation.acknowledgedTxId),
    })),
  };
  return `${JSON.stringify(json, undefined, 1)}\n`;
}

function textOf(id: TxId | null): string | null {
  return id === null ? null : formatTxId(id);
}

/** A cursor in memory and on disk. */
export interface CursorStore {
  value(): Cursor;
  /** Changes what is in memory; the disk follows with the next `save`. */
  update(change: Partial<Cursor>): void;
  /** Changes one generation; nothing if it is no longer there. */
  updateGeneration(generation: Generation, change: Partial<GenerationCursor>): void;
  isSaved(): boolean;
  /** Makes the present value durable; `reserved`: on a full disk in the room that is kept for it. */
  save(how?: "reserved"): Promise<void>;
  /** Keeps room on the disk for the next value, as far as there is some. Never at the same time as a save: both write to it. */
  keepRoom(): Promise<void>;
  /** Writes the file again if somebody removed it. */
  mend(): Promise<void>;
}

const cursorFile = "cursor.json";

/** Room for the next, on a full disk. */
const cursorReserve = "reserve-cursor";

/** A cursor is some hundred bytes for each generation. */
const growthBytes = 4096;

/** Opens the cursor of the database whose directory this is. A missing one is empty. */
export async function openCursor(directory: string): Promise<CursorStore> {
  const path = join(directory, cursorFile);
  const reserve = join(directory, cursorReserve);
  let value = await readCursor(path);
  let saved = value;
  let saving: Promise<void> = Promise.resolve();

  async function write(how: "reserved" | undefined): Promise<void> {
    const written = value;
    if (written === saved) return;
    const bytes = Buffer.from(formatCursor(written));
    if (how === "reserved") await writeWithReserve(path, bytes, reserve);
    else await writeFileDurable(path, bytes, { overwrite: true });
    saved = written;
  }

  /** One after the other; a failed one must not stop the next. */
  const inTurn = (act: () => Promise<void>): Promise<void> => {
    saving = saving.catch(() => {}).then(act);
    return saving;
  };
  // Each with what is newest by then.
  const save = (how?: "reserved") => inTurn(() => write(how));

  return {
    value: () => value,
    update(change) {
      value = { ...value, ...change };
    },
    updateGeneration(generation, change) {
      const generations = value.generations.map((one) =>
        one.generation === generation ? { ...one, ...change } : one,
      );
      value = { ...value, generations };
    },
    isSaved: () => value === saved,
    save,
    keepRoom: () => inTurn(() => keepReserve(reserve, formatCursor(value).length + growthBytes)),
    async mend() {
      // One that never was has nothing to remember.
      if (saved === emptyCursor || (await isThere(path))) return;
      await makeDirectoryDurable(directory);
      saved = emptyCursor;
      await save();
    },
  };
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT" && error.code !== "ENOTDIR",
  );
}

async function readCursor(path: string): Promise<Cursor> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return emptyCursor;
    throw fromFileSystem(error, `reading ${path}`);
  }
  return parseCursor(text);
}
