// The files that were found in a directory, from look to look: one that is gone stays for a while, for somebody may bring it back.

import { isThere } from "../is-there.ts";
import type { Findings, FoundFile } from "./find-databases.ts";

/** Files of one directory. */
export interface KeptFiles {
  all(): readonly FoundFile[];
  /** Takes what a look found. `isReload`: what is gone is not waited for. */
  take(findings: Findings, options: { readonly isReload: boolean }): Promise<void>;
}

/** What it works with. */
export interface KeptFilesOptions {
  /** What was known before. */
  readonly known: readonly FoundFile[];
  /** A file that is gone for so long is not waited for any more. */
  readonly goneMs: number;
  /** By a clock that is never set. */
  readonly nowMs: () => number;
}

/** Makes the files of a directory. */
export function createKeptFiles({ known, goneMs, nowMs }: KeptFilesOptions): KeptFiles {
  const files = new Map(known.map((file) => [file.path, file]));
  const goneSince = new Map<string, number>();

  async function keepOrForget(path: string, isReload: boolean): Promise<void> {
    // One that is there and was not found is damaged, or may not be read: that is for its own alarms to say.
    if (await isThere(path)) return void goneSince.delete(path);
    const sinceMs = goneSince.get(path) ?? nowMs();
    goneSince.set(path, sinceMs);
    if (!isReload && nowMs() - sinceMs < goneMs) return;
    goneSince.delete(path);
    files.delete(path);
  }

  return {
    all: () => [...files.values()],
    async take(findings, { isReload }) {
      const found = new Set(findings.files.map(({ path }) => path));
      for (const file of findings.files) {
        files.set(file.path, file);
        goneSince.delete(file.path);
      }
      // Where the directory itself is not there, as on a disk that is not mounted, nothing is known of its files.
      if (findings.directories.length === 0) return;
      for (const path of [...files.keys()]) if (!found.has(path)) await keepOrForget(path, isReload);
    },
  };
}
