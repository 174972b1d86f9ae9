// What is remembered of a shadow directory between two starts, as a small durable file beside the mirror: which mirror is the one, on
// which boot it was written, and which of the Go implementation's generations belong to which history.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type Generation, parseGeneration } from "@pageferry/format";
import { z } from "zod";
import type { FileIdentity, MachineIdentity } from "../identity.ts";

/** One unbroken history, made of as many generations as the Go implementation forked it into. */
export interface History {
  /** Two histories with the same one are of the same database, though the way from one to the other cannot be proved. */
  readonly database: string;
  /** Its own name. */
  readonly origin: string;
  /** Those whose transactions are its transactions. The last is the one it goes on in. */
  readonly generations: readonly Generation[];
  /** It is over, and all of it up to this transaction is stored; 16 hex digits. */
  readonly overAt: string | null;
}

/** All that is remembered. */
export interface ShadowMemory {
  /** The mirror's file; null before there is one. */
  readonly mirror: string | null;
  /** The boot that the mirror was written on: on another one it may be torn. */
  readonly bootId: string;
  /** Oldest first; the last is the one that is followed. */
  readonly histories: readonly History[];
}

const emptyMemory: ShadowMemory = { mirror: null, bootId: "", histories: [] };

const name64 = z.string().regex(/^[0-9a-f]{16}$/);

const schema = z.object({
  version: z.literal(1),
  mirror: z
    .string()
    .regex(/^mirror-\d+\.db$/)
    .nullable(),
  bootId: z.string(),
  histories: z.array(
    z.object({
      database: z.string(),
      origin: z.string(),
      generations: z.array(name64.transform(parseGeneration)),
      overAt: name64.nullable(),
    }),
  ),
});

/** The memory of one shadow directory, in memory and on disk. */
export interface ShadowMemoryStore {
  value(): ShadowMemory;
  /** Makes a new value durable. Throws what the file system throws; then the old one still is. */
  save(value: ShadowMemory): void;
  /** A path in the same directory that nothing has: for a mirror, or for what may become one. */
  newPath(): string;
  /** The full path of the mirror that is remembered. */
  mirrorPath(): string | undefined;
  /** Removes every other mirror. */
  sweep(): void;
}

const fileName = "histories.json";
const mirrorPattern = /^mirror-(\d+)\.db$/;

/** Opens it; what cannot be read is as if nothing were remembered: then nothing is trusted, and nothing is deleted. */
export function openShadowMemory(directory: string): ShadowMemoryStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  let value = read(join(directory, fileName));
  let newest = Math.max(
    0,
    ...readdirSync(directory).map((name) => Number(mirrorPattern.exec(name)?.[1] ?? 0)),
  );
  return {
    value: () => value,
    save(next) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      writeDurable(directory, `${JSON.stringify({ version: 1, ...next }, undefined, 1)}\n`);
      value = next;
    },
    newPath() {
      newest += 1;
      return join(directory, `mirror-${newest}.db`);
    },
    mirrorPath: () => (value.mirror === null ? undefined : join(directory, value.mirror)),
    sweep() {
      for (const name of readdirSync(directory)) {
        if (mirrorPattern.test(name) && name !== value.mirror) rmSync(join(directory, name), { force: true });
      }
    },
  };
}

function read(path: string): ShadowMemory {
  try {
    const { version: _, ...memory } = schema.parse(JSON.parse(readFileSync(path, "utf8")));
    return memory;
  } catch {
    return emptyMemory;
  }
}

/** Whole under its name, or what was there before; also after a power loss. */
function writeDurable(directory: string, text: string): void {
  const path = join(directory, fileName);
  const temporary = `${path}.new`;
  const fd = openSync(temporary, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  const parent = openSync(directory, "r");
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

/**
 * A history in the words of a file's identity, by which restarts are judged: the database stands for the inode, what is unbroken
 * in it for the boot.
 */
export function identityOf(history: History, { machineId }: MachineIdentity): FileIdentity {
  return { device: "0", inode: history.database, birthtimeNs: "0", bootId: history.origin, machineId };
}
