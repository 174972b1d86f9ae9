// How many databases this process has open files for. Beyond them nothing is certain any more: a process without a file to spare can write neither
// its cursors nor an alarm's webhook.
import { PageferryError } from "@pageferry/format";
import { openFilesHint } from "@pageferry/format/node";

/** The database, the lock of its shadow directory, and the lock of its path. */
const filesOfDatabase = 3;

/** What the rest of the process has open, and what is opened for a moment. */
const filesBesidesMin = 128;
const shareBesides = 0.05;

let limit: number | undefined;

/** Files that this process may have open at a time: the soft limit, which Node raises to the hard one at its start. */
function openFilesMax(): number {
  limit ??= readLimit();
  return limit;
}

function readLimit(): number {
  const diagnosis = process.report as NodeJS.ProcessReport & { excludeNetwork: boolean };
  const { excludeNetwork } = diagnosis;
  // It looks up names in the network, unless it is told not to.
  diagnosis.excludeNetwork = true;
  try {
    const report = diagnosis.getReport() as {
      readonly userLimits?: { readonly open_files?: { soft?: unknown } };
    };
    const soft = report.userLimits?.open_files?.soft;
    return typeof soft === "number" ? soft : Number.POSITIVE_INFINITY;
  } finally {
    diagnosis.excludeNetwork = excludeNetwork;
  }
}

/** How many databases one agent may have where so many files may be open. Default: as many as this process may have. */
export function databasesMax(files = openFilesMax()): number {
  const besides = Math.max(filesBesidesMin, files * shareBesides);
  return files === Number.POSITIVE_INFINITY
    ? files
    : Math.max(1, Math.floor((files - besides) / filesOfDatabase));
}

/** Throws `bad-config` where so many databases are too many for this process. */
export function requireOpenFiles(databases: number, files = openFilesMax()): void {
  const max = databasesMax(files);
  if (databases <= max) return;
  const words = `databases: ${databases} of them, and ${files} open files are enough for ${max}`;
  throw new PageferryError("bad-config", words, { hint: openFilesHint });
}
