// Small facts that outlive a process, by names such as `source/app`: what was heard, found and done. A host in one process keeps them in its
// queue's file, functions in objects (object-notes.ts).

/** Who reads them has them at once; when what was set is durable is the keeper's business. */
export interface Notes {
  setNote(name: string, value: string): void;
  dropNote(name: string): void;
  /** All whose names begin with `prefix`. */
  notes(prefix: string): Map<string, string>;
}

/** What becomes of a note that two processes wrote at once: `theirs` is stored, `ours` is to be. */
export type MergeNote = (theirs: string, ours: string) => string;
