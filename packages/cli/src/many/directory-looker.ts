// A directory of databases over time: it is looked at when it is told to, and, where it is watched, says when that is due: soon after an
// event, while a new file is no database yet, and each minute.

import type { DirectoryConfig, PageferryError } from "@pageferry/format";
import { createDirectoryEvents } from "./directory-events.ts";
import { type FoundFile, findDatabases } from "./find-databases.ts";
import { createKeptFiles } from "./kept-files.ts";

/** When a watched directory is looked at, all in ms. */
export interface LookTimes {
  /** With or without events. */
  readonly everyMs: number;
  /** After an event: what makes one file often makes more. */
  readonly settleMs: number;
  /** As long as a file that is no database yet is new, it is looked at again after `againMs`. */
  readonly newMs: number;
  readonly againMs: number;
  /** A file that is gone for so long is not waited for any more. */
  readonly goneMs: number;
}

/** An hour: longer than a deployment, or than a file is moved aside to look at it. */
const lookTimes: LookTimes = {
  ...{ everyMs: 60_000, settleMs: 250, newMs: 30_000, againMs: 1000, goneMs: 3_600_000 },
};

/** Looking takes at most a twentieth of the time, however much goes on in a directory. */
const restsPerLook = 19;

/** What it works with. */
export interface LookerOptions {
  /** Our own directories. */
  readonly excluded: readonly string[];
  /** What an earlier looker of the same entry knew. */
  readonly known?: readonly FoundFile[];
  readonly times?: Partial<LookTimes>;
  readonly onSkipped?: (path: string, why: string) => void;
}

/** Looks at one directory. Disposing of it ends watching. */
export interface DirectoryLooker extends Disposable {
  readonly entry: DirectoryConfig;
  /** Looks now. `isReload`: what is gone is not waited for. */
  look(options?: { readonly isReload?: boolean; readonly signal?: AbortSignal }): Promise<void>;
  /** What was found, and what was found and is gone since a while. */
  files(): readonly FoundFile[];
  problem(): PageferryError | undefined;
  /** Says from now on when a look is due; nothing where the entry is not watched. */
  start(onDue: () => void): void;
}

/** Makes the looker of an entry. */
export function createDirectoryLooker(entry: DirectoryConfig, options: LookerOptions): DirectoryLooker {
  const times = { ...lookTimes, ...options.times };
  const nowMs = () => performance.now();
  const files = createKeptFiles({ known: options.known ?? [], goneMs: times.goneMs, nowMs });
  const { excluded, onSkipped = () => {} } = options;
  const events = createDirectoryEvents(entry, () => dueIn(times.settleMs));
  /** Since when files that are no databases are there. */
  let others: ReadonlyMap<string, number> = new Map();
  let problem: PageferryError | undefined;
  let tellDue: (() => void) | undefined;
  let restUntilMs = 0;
  let due: { readonly timer: NodeJS.Timeout; readonly atMs: number } | undefined;

  /** Of two times to look the sooner one counts. */
  function dueIn(waitMs: number): void {
    const atMs = Math.max(nowMs() + waitMs, restUntilMs);
    if (tellDue === undefined || (due !== undefined && due.atMs <= atMs)) return;
    clearTimeout(due?.timer);
    const tell = (): void => {
      due = undefined;
      tellDue?.();
    };
    due = { timer: setTimeout(tell, Math.max(1, atMs - nowMs())).unref(), atMs };
  }

  return {
    entry,
    files: files.all,
    problem: () => problem,
    async look({ isReload = false, signal } = {}) {
      const begunMs = nowMs();
      const known = new Map(files.all().map(({ path, id }) => [path, id]));
      const found = await findDatabases(entry, { known, excluded, onSkipped, ...(signal && { signal }) });
      await files.take(found, { isReload });
      problem = found.problem;
      others = new Map(found.others.map((path) => [path, others.get(path) ?? begunMs]));
      restUntilMs = nowMs() + (nowMs() - begunMs) * restsPerLook;
      if (tellDue === undefined) return;
      events.listen(found.directories, new Set(others.keys()));
      const isSomeNew = [...others.values()].some((sinceMs) => nowMs() - sinceMs < times.newMs);
      dueIn(isSomeNew ? times.againMs : times.everyMs);
    },
    start(onDue) {
      if (!entry.watch || tellDue !== undefined) return;
      tellDue = onDue;
      // What came since the first look, and to listen from then on.
      dueIn(0);
    },
    [Symbol.dispose]() {
      tellDue = undefined;
      clearTimeout(due?.timer);
      events[Symbol.dispose]();
    },
  };
}
