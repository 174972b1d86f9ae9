// Another chance for what SQS has set aside: each letter goes back into the queue it came from, and leaves the dead letters only when it is
// there. Doing it twice is harmless, since what is stored is found to be present.

import { type DatabaseName, decodeEnvelope, PageferryError } from "@pageferry/format";
import { ingestLane } from "../../consumer.ts";
import type { Forks } from "../../forks.ts";
import type { ReplayReport, ReplayRequest } from "../../replay.ts";
import type { LambdaTarget } from "./container.ts";
import type { LambdaEnvironment } from "./environment.ts";
import type { OutgoingMessage, Queues } from "./sqs.ts";
import type { Letter, Letters } from "./sqs-letters.ts";

/** For as long nobody else is given a letter that is on its way back. */
const hiddenSeconds = 120;

export interface DeadLettersOptions {
  readonly environment: Pick<LambdaEnvironment, "queueUrl" | "laneUrls" | "deadLetterUrls">;
  readonly targets: readonly Pick<LambdaTarget, "name" | "label">[];
  readonly queues: Pick<Queues, "send">;
  readonly letters: Omit<Letters, "depth">;
  readonly forks: Pick<Forks, "forgive">;
  /** How long it may go on, ms; what is left then is taken by the next call. */
  readonly remainingMs: () => number;
  readonly now: () => number;
}

/** A queue, and where what it gave up lies. */
interface Way {
  readonly replica: string;
  readonly from: string;
  readonly to: string;
}

/** Left of an invocation for its answer. */
const marginMs = 10_000;

/** Carries a replay out. Errors: `not-found` for a replica that is not configured, those of SQS. */
export async function replayDeadLetters(
  { replica, database, hasForks }: ReplayRequest,
  options: DeadLettersOptions,
): Promise<ReplayReport> {
  const { targets, forks } = options;
  if (replica !== undefined && !targets.some(({ name }) => name === replica)) {
    throw new PageferryError("not-found", `replica ${replica.slice(0, 200)} is not configured`, {
      hint: `There are ${targets.map(({ name }) => name).join(", ")}.`,
    });
  }
  const ways = waysOf(options).filter((way) => replica === undefined || way.replica === replica);
  const replayed: { replica: string; messages: number }[] = [];
  for (const way of ways) {
    replayed.push({ replica: way.replica, messages: await goBack(way, database, options) });
  }
  // As in other hosts, a row of its own for what no replica was offered, where there was something.
  const rows = replayed.filter((row) => row.replica !== ingestLane || row.messages > 0);
  return { replayed: rows, forks: hasForks ? forks.forgive(database) : 0 };
}

function waysOf({ environment, targets }: DeadLettersOptions): readonly Way[] {
  const { queueUrl, laneUrls, deadLetterUrls } = environment;
  const way = (replica: string, from: string | undefined, to: string | undefined): Way[] =>
    from === undefined || to === undefined ? [] : [{ replica, from, to }];
  return [
    ...targets.flatMap(({ name, label }) => way(name, deadLetterUrls.get(label), laneUrls.get(label))),
    ...way(ingestLane, deadLetterUrls.get("ingest"), queueUrl),
  ];
}

/** Returns how many went back. Those of other databases are given back when all were looked at. */
async function goBack(
  { from, to }: Way,
  database: DatabaseName | undefined,
  { queues, letters, remainingMs, now }: DeadLettersOptions,
): Promise<number> {
  const others: Letter[] = [];
  const beganAtMs = now();
  let count = 0;
  try {
    while (remainingMs() > marginMs) {
      const taken = await letters.take(from, hiddenSeconds);
      // What was set aside again meanwhile has had its chance.
      const due = taken.filter(({ sentAtMs }) => sentAtMs < beganAtMs);
      const own = due.filter((letter) => database === undefined || isOf(letter, database));
      others.push(...taken.filter((letter) => !own.includes(letter)));
      if (due.length === 0) break;
      const failures = await queues.send(to, own.map(secondChance));
      for (const [at, letter] of own.entries()) {
        const failure = failures[at];
        if (failure !== undefined) throw failure;
        await letters.remove(from, letter);
        count += 1;
      }
    }
  } finally {
    // What cannot be given back comes back by itself.
    await Promise.allSettled(others.map((letter) => letters.release(from, letter)));
  }
  return count;
}

/** Without the reason why it was set aside, and with its first sender: who sends it again may send for everybody. */
function secondChance({ body, attributes, senderId }: Letter): OutgoingMessage {
  const { code: _, reason: __, ...kept } = attributes;
  const sender = kept.sender ?? senderId;
  return { body, attributes: { ...kept, ...(sender === "" ? {} : { sender }) } };
}

function isOf({ body }: Letter, database: DatabaseName): boolean {
  try {
    return decodeEnvelope(Buffer.from(body, "base64")).database === database;
  } catch {
    return false;
  }
}
