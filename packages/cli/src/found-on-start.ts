// Which of the databases that were found in directories do not open any more. There may be thousands of them, and their application waits: each
// costs some pages, not a check, and what that shows is checked by whoever restores. docs/operations.md#restore-on-start.

import { setImmediate as breathe } from "node:timers/promises";
import { type DatabaseConfig, isPageferryError, openingProblem } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import type { Io } from "./io.ts";
import { printable } from "./terminal-text.ts";

/** What bounds the look. */
export interface FoundBounds {
  /** More than these are no files that broke: it is the disk, or a tree that is being copied. */
  readonly brokenMax: number;
  readonly timeMs: number;
}

const boundsDefault: FoundBounds = { brokenMax: 32, timeMs: 30_000 };

/** Names that are told. */
const namedMax = 3;

/** Those that bolt would not open, as far as that is seen in time; none where they are too many for it to be theirs. */
export async function brokenAmong(
  found: readonly DatabaseConfig[],
  io: Pick<Io, "err" | "signal">,
  bounds: Partial<FoundBounds> = {},
): Promise<readonly DatabaseConfig[]> {
  const { brokenMax, timeMs } = { ...boundsDefault, ...bounds };
  const endMs = performance.now() + timeMs;
  const broken: DatabaseConfig[] = [];
  for (const [looked, database] of found.entries()) {
    io.signal.throwIfAborted();
    if (performance.now() >= endMs) {
      io.err(
        `warning: ${looked} of ${found.length} databases in directories were looked at in ${timeMs / 1000} s; of the others none is restored\n`,
      );
      break;
    }
    if (!opens(database.path)) broken.push(database);
    // A host beside it has requests to answer.
    await breathe();
  }
  if (broken.length <= brokenMax) return broken;
  const names = broken.slice(0, namedMax).map(({ name }) => printable(name));
  io.err(
    `warning: ${broken.length} databases in directories do not open (${names.join(", ")}, …): so many are not restored by themselves\n` +
      "hint: See whether the disk is sound, or a copy is under way; then `pageferry restore --force -o PATH FROM` for each.\n",
  );
  return [];
}

/** Whether bolt would open it. One that cannot be read, or is gone, is for its own alarms to say, and one without a meta page may be about to be made. */
function opens(path: string): boolean {
  try {
    using source = openPageSource(path);
    return openingProblem(source) === undefined;
  } catch (error) {
    if (isPageferryError(error)) return true;
    throw error;
  }
}
