// Which of the waiting messages share a request, and what an answer says of each of them. Requests are what costs.
import { createHash } from "node:crypto";
import { PageferryError, sqsBytesMax } from "@pageferry/format";
import { fromFailedEntry } from "./aws-errors.ts";

/** Messages of one request: SQS takes no more. */
export const batchEntriesMax = 10;

/** What SQS says of a batch that it took; an entry may be in neither list. */
export interface BatchAnswer {
  readonly taken: readonly { readonly id: string; readonly md5: string | undefined }[];
  readonly failed: readonly {
    readonly id: string;
    readonly code: string;
    readonly message: string;
    readonly isOurFault: boolean;
  }[];
}

/** What came of one message: it is in the queue, or why it is not. */
export type Outcome = "taken" | PageferryError;

/** The positions that go into the next request, oldest first: one that does not fit beside those before it waits for the next. */
export function chooseBatch(sizes: readonly number[]): number[] {
  const chosen: number[] = [];
  let bytes = 0;
  for (const [at, size] of sizes.entries()) {
    if (chosen.length === batchEntriesMax) break;
    if (chosen.length > 0 && bytes + size > sqsBytesMax) continue;
    chosen.push(at);
    bytes += size;
  }
  return chosen;
}

/** Whether waiting longer could put nothing more into the next request: it is full, or nothing but a word would fit. */
export function isFull(sizes: readonly number[], smallest: number): boolean {
  const chosen = chooseBatch(sizes);
  const bytes = chosen.reduce((sum, at) => sum + (sizes[at] ?? 0), 0);
  return chosen.length === batchEntriesMax || bytes + smallest > sqsBytesMax || chosen.length < sizes.length;
}

/**
 * What came of each of `bodies`, whose ids are their positions. Only one that is named as taken, with the digest of what was
 * sent, is in the queue.
 */
export function outcomesOf(bodies: readonly string[], answer: BatchAnswer, where: string): Outcome[] {
  const taken = new Map(answer.taken.map((entry) => [entry.id, entry]));
  const failed = new Map(answer.failed.map((entry) => [entry.id, entry]));
  return bodies.map((body, at) => {
    const id = String(at);
    const refusal = failed.get(id);
    if (refusal !== undefined) return fromFailedEntry(refusal, where);
    const entry = taken.get(id);
    if (entry === undefined) {
      return new PageferryError("unavailable", `${where}: the answer does not mention the message`);
    }
    if (entry.md5 === createHash("md5").update(body).digest("hex")) return "taken";
    return new PageferryError("unavailable", `${where}: the queue holds other bytes than were sent`);
  });
}
