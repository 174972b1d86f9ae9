// Judges files by everything there is: bbolt's own check and the data's invariants (the Go checker), our check and
// state hash, and the writer's log of what it was told is committed.
import { checkDatabase, type StateHash } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import type { Acknowledged, Checker, Verdict } from "./go-apps.ts";

/** What a file has to be. What is absent is not asked. */
export interface Expected {
  readonly txId?: number;
  readonly stateHash?: StateHash;
  /** The writer's log by txid: the data has to be exactly what it committed there, where it says so. */
  readonly log?: ReadonlyMap<number, Acknowledged>;
  /** False for a database of another application. Default true. */
  readonly hasApp?: boolean;
}

export interface Judgement {
  readonly verdict: Verdict;
  /** Empty: sound. */
  readonly problems: readonly string[];
}

/** The last entry of each txid: a txid is given again when a transaction was lost. */
export function byTxId(log: readonly Acknowledged[]): Map<number, Acknowledged> {
  return new Map(log.map((entry) => [entry.txId, entry]));
}

/** Judges one file. */
export async function judge(checker: Checker, path: string, expected: Expected): Promise<Judgement> {
  const verdict = await checker.check(path);
  const problems = [...verdict.errors];
  if (expected.txId !== undefined && verdict.txid !== expected.txId) {
    problems.push(`the file is at ${verdict.txid}, not at ${expected.txId}`);
  }
  if (verdict.fileBytes !== verdict.highWaterMark * verdict.pageSize) {
    problems.push(`the file has ${verdict.fileBytes} bytes, not ${verdict.highWaterMark} pages`);
  }
  if ((expected.hasApp ?? true) && verdict.app === undefined) {
    problems.push("the application's bucket is not there");
  }
  const committed = expected.log?.get(verdict.txid);
  if (
    committed !== undefined &&
    (verdict.app?.sum !== committed.sum || verdict.app.number !== committed.number)
  ) {
    problems.push(
      `transaction ${verdict.txid} is ${JSON.stringify(verdict.app)}, the writer committed ${committed.sum}`,
    );
  }
  if (verdict.ok) {
    using source = openPageSource(path);
    const ours = checkDatabase(source, { mode: "full", expectedStateHash: expected.stateHash });
    problems.push(...ours.problems.map((problem) => `our check: ${problem}`));
  }
  return { verdict, problems: problems.map((problem) => `${path}: ${problem}`) };
}
