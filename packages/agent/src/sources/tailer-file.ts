// Opening the file, and what may happen to it and to its path while it is followed. docs/capture.md#bad-days.
import { detectPageSize, isPageferryError, PageferryError } from "@pageferry/format";
import { createMetaReader, equalBytes, isSameMeta } from "./bolt-io.ts";
import { dropImage } from "./tailer-base.ts";
import { clear, noScan, type OpenFile, raise, type Session, type Tailer } from "./tailer-state.ts";

/** A file that is being created, or a path that is about to appear, gets this long before it is an alarm. */
const graceMs = 3000;
const openRetryMs = 200;
/** The path is compared with the open file this often. */
const pathCheckMs = 2000;
/** Who holds locks on unlinked files is asked this often, by all databases at once: it reads /proc, once a second at most. */
const writerCheckMs = 10_000;
/** Metas that are unreadable for longer than a torn write takes: the file is being rewritten. */
const tornMs = 100;
/** A meta that is not above ours is believed when it is the same at so many looks, so far apart. */
const fallLooks = 3;
const fallEveryMs = 10;

/** Tries to open the file; answers how long to wait until the next try. */
export function openSession(tailer: Tailer): number {
  const { environment } = tailer;
  const clockMs = environment.clockMs();
  let file: OpenFile | undefined;
  try {
    file = environment.openFile();
    const pageSize = pageSizeOf(tailer, file);
    const metas = createMetaReader(file.readAt, pageSize);
    tailer.session = { file, pageSize, metas, links: environment.keepLinks?.(file, pageSize) };
    tailer.openFailedSinceMs = undefined;
    tailer.absentSinceMs = undefined;
    tailer.pathLostSinceMs = undefined;
    tailer.pathCheckAtMs = clockMs + pathCheckMs;
    clear(tailer, "not-found", "unreadable", "not-bolt");
    return 0;
  } catch (error) {
    file?.close();
    if (!isPageferryError(error)) throw error;
    tailer.openFailedSinceMs ??= clockMs;
    const isPatient = error.code !== "unreadable" && clockMs - tailer.openFailedSinceMs < graceMs;
    if (!isPatient) raise(tailer, error.code, error.message, error.hint);
    return openRetryMs;
  }
}

function pageSizeOf(tailer: Tailer, file: OpenFile): number {
  const { path } = tailer.options;
  if (file.stats().size === 0) throw new PageferryError("not-bolt", `${path}: the file is empty`);
  const pageSize = detectPageSize((position, length) => {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, file.readAt(position, bytes));
  });
  if (pageSize === undefined) throw new PageferryError("not-bolt", `${path}: neither meta page is valid`);
  return pageSize;
}

/** Gives the file up: what comes next is opened anew and compared with what is known. */
export function closeSession(tailer: Tailer): void {
  tailer.session?.links?.close();
  tailer.session?.file.close();
  tailer.session = undefined;
  unsettle(tailer);
  tailer.busySinceMs = undefined;
}

/** What is known cannot be followed any further: the next step scans, and compares. */
export function unsettle(tailer: Tailer): void {
  const { clone } = tailer.scan;
  clone?.file.close();
  clone?.image.discard();
  tailer.scan = noScan();
  tailer.walk = undefined;
  tailer.fall = undefined;
}

/** The file's history is in doubt: what is found next continues nothing unless it is the very same state. */
function suspect(tailer: Tailer): void {
  tailer.isSuspect = true;
  dropImage(tailer);
}

/** Now and then: does the path still name the file we read? */
export function checkPath(tailer: Tailer, session: Session): void {
  const { environment } = tailer;
  const clockMs = environment.clockMs();
  if (clockMs < tailer.pathCheckAtMs) return;
  tailer.pathCheckAtMs = clockMs + pathCheckMs;
  const state = environment.pathState(session.file);
  if (state === "same") {
    tailer.pathLostSinceMs = undefined;
    clear(tailer, "not-found");
    checkWriter(tailer, session.file);
    return;
  }
  tailer.pathLostSinceMs ??= clockMs;
  const lostMs = clockMs - tailer.pathLostSinceMs;
  const isWritten = environment.hasWriter(session.file);
  if (state === "replaced" && !isWritten) {
    // Drained first; but a file that never settles is not waited for.
    if (isSettled(tailer, session) || lostMs >= graceMs) {
      clear(tailer, "source-unlinked", "not-found");
      suspect(tailer);
      closeSession(tailer);
    } else {
      tailer.pathCheckAtMs = clockMs;
    }
    return;
  }
  if (lostMs < graceMs) return;
  if (isWritten) raiseUnlinked(tailer);
  else {
    const message = `${tailer.options.path}: the file is gone`;
    raise(tailer, "not-found", message, "It is followed again as soon as it is there.");
  }
}

/** Whether everything that is committed in the file is captured. */
export function isSettled(tailer: Tailer, session: Session): boolean {
  if (tailer.walk === undefined || tailer.walk.links > 0) return false;
  const view = session.metas.read();
  return view !== undefined && isSameMeta(view, tailer.walk.view);
}

function checkWriter(tailer: Tailer, file: OpenFile): void {
  const { environment } = tailer;
  const clockMs = environment.clockMs();
  if (clockMs < tailer.writerCheckAtMs) return;
  tailer.writerCheckAtMs = (Math.floor(clockMs / writerCheckMs) + 1) * writerCheckMs;
  if (!environment.hasWriter(file) && environment.isWrittenElsewhere()) raiseUnlinked(tailer);
  else clear(tailer, "source-unlinked");
}

function raiseUnlinked(tailer: Tailer): void {
  raise(
    tailer,
    "source-unlinked",
    `${tailer.options.path}: the application writes a file that this path no longer names`,
    "Restart the application, so that it opens the file that is there now.",
  );
}

/** No valid meta: a torn write for a moment, else a file that is being rewritten. Answers how long to wait. */
export function metasAbsent(tailer: Tailer): number {
  const clockMs = tailer.environment.clockMs();
  tailer.absentSinceMs ??= clockMs;
  if (clockMs - tailer.absentSinceMs < tornMs) return 1;
  // Whatever comes back is looked at from the beginning: even its page size may be another.
  tailer.openFailedSinceMs ??= tailer.absentSinceMs;
  suspect(tailer);
  closeSession(tailer);
  return openRetryMs;
}

/**
 * The newest meta is not above ours. In a file made by bolt's own WriteTo the first commit overwrites the newer meta, so a torn
 * read may show the older one for a moment; a fall that stays is another history. Answers how long to wait.
 */
export function confirmFall(tailer: Tailer, session: Session): number {
  const clockMs = tailer.environment.clockMs();
  const view = session.metas.read();
  if (view === undefined) return metasAbsent(tailer);
  const { fall } = tailer;
  if (fall === undefined || !equalBytes(fall.raw, view.raw)) {
    tailer.fall = { raw: view.raw, looks: 1, atMs: clockMs };
    return fallEveryMs;
  }
  if (clockMs - fall.atMs < fallEveryMs) return fallEveryMs;
  fall.looks += 1;
  fall.atMs = clockMs;
  if (fall.looks < fallLooks) return fallEveryMs;
  suspect(tailer);
  unsettle(tailer);
  return 0;
}
