// A batch of one replica's lane: what is small goes together, what is large one after the other, each as far as the time reaches. A
// large copy into S3 keeps what it has done in its message, and goes on in the next invocation; to other stores it begins anew.

import { type DatabaseName, decodeEnvelope, PageferryError } from "@pageferry/format";
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";
import { withDeadline } from "../../deadline.ts";
import { deliver, type Message } from "../../deliver.ts";
import { copiedBytesMin } from "../../fanout.ts";
import type { LargeBody } from "../../replica-put.ts";
import { errorLine, type Outcome, outcomeOf, settleLane } from "../../settle.ts";
import type { Container, LambdaTarget } from "./container.ts";
import { attributeOf, bytesOf, checkSizes, deadLetter, laneMessage, receivedAtMsOf } from "./records.ts";
import { answer, type Sending, sendAll } from "./settled.ts";

/** A part of 32 MiB at 1 MB/s, and time to put the message back. */
const pauseMs = 60_000;

/** What settling and answering may take. */
const settleMs = 10_000;

/** What nothing was said of is not done. */
const unanswered: Outcome = {
  kind: "retry",
  error: new PageferryError("unavailable", "nothing was said of this message"),
};

interface Turn {
  readonly container: Container;
  readonly target: LambdaTarget;
  readonly url: string;
  readonly leftMs: () => number;
}

interface LaneMessage {
  readonly record: SQSRecord;
  readonly message: Message;
}

/** What became of a record; `progress`: it goes on there. */
interface Ended {
  readonly record: SQSRecord;
  readonly outcome: Outcome;
  readonly progress?: string;
}

/** Works a batch of a lane; the answer names the records that are to come again. It never throws. */
export async function laneBatch(
  event: SQSEvent,
  context: Pick<Context, "getRemainingTimeInMillis">,
  container: Container,
): Promise<SQSBatchResponse> {
  const { queues, telemetry } = container;
  const { Records: records } = event;
  const lane = laneOf(records[0]?.eventSourceARN ?? "", container);
  telemetry.add("Received", records.length);
  try {
    if (lane === undefined) throw new PageferryError("bad-config", "no replica has this queue as its lane");
    const turn = { container, ...lane, leftMs: () => context.getRemainingTimeInMillis() };
    const again = await work(records, turn);
    telemetry.add("Retried", again.size);
    telemetry.add("Done", records.length - again.size);
    return await answer(again, { queues, url: lane.url, random: Math.random });
  } catch (error) {
    telemetry.log.error({ error: errorLine(error) }, "a batch was given up: it comes again");
    telemetry.add("Retried", records.length);
    return await answer(records, { queues, url: lane?.url, random: Math.random });
  } finally {
    telemetry.flush();
  }
}

/** By the queue's name, which a deployment's queues differ in. */
function laneOf(arn: string, { environment, targets }: Container): Pick<Turn, "target" | "url"> | undefined {
  const name = arn.slice(arn.lastIndexOf(":") + 1);
  for (const [label, url] of environment.laneUrls) {
    const target = targets.find((one) => one.label === label);
    if (target !== undefined && url.slice(url.lastIndexOf("/") + 1) === name) return { target, url };
  }
  return undefined;
}

async function work(records: readonly SQSRecord[], turn: Turn): Promise<ReadonlySet<SQSRecord>> {
  await turn.container.refreshNotes();
  const ended: Ended[] = [];
  const small: LaneMessage[] = [];
  const large: LaneMessage[] = [];
  for (const [id, record] of records.entries()) {
    try {
      const envelope = decodeEnvelope(bytesOf(record));
      checkSizes(envelope);
      const isLarge = envelope.items.some((item) => "digest" in item && item.size >= copiedBytesMin);
      const message = { id, envelope, receivedAtMs: receivedAtMsOf(record) };
      (isLarge ? large : small).push({ record, message });
    } catch (error) {
      ended.push({ record, outcome: outcomeOf(error) });
    }
  }
  ended.push(...(await deliverSmall(small, turn)));
  for (const one of large) ended.push(await copyLarge(one, turn));
  const again = await settle(ended, turn);
  await turn.container.saveNotes();
  return again;
}

async function deliverSmall(small: readonly LaneMessage[], { target, leftMs }: Turn): Promise<Ended[]> {
  if (small.length === 0) return [];
  const pass = target.enter();
  const all = (error: unknown) =>
    small.map(({ record }): Ended => ({ record, outcome: { kind: "retry", error } }));
  if (pass === undefined)
    return all(new PageferryError("unavailable", `${target.name}: is left alone for now`));
  try {
    const messages = small.map(({ message }) => message);
    const outcomes = await withDeadline(Math.max(1000, leftMs() - settleMs), undefined, (signal) =>
      target.deliverInLane(messages, pass, signal),
    );
    return small.map(({ record, message }) => ({
      record,
      outcome: outcomes.get(message.id) ?? unanswered,
    }));
  } catch (error) {
    return all(error);
  }
}

/** One large message, as far as the time reaches. */
async function copyLarge({ record, message }: LaneMessage, turn: Turn): Promise<Ended> {
  const { container, target, leftMs } = turn;
  let progress = attributeOf(record, "copy");
  const resumable = (body: LargeBody): LargeBody =>
    body.size < copiedBytesMin
      ? body
      : {
          ...body,
          resumable: {
            read: body.read,
            load: () => progress,
            save(done) {
              progress = done;
            },
            mustPause: () => leftMs() < pauseMs,
          },
        };
  const options = {
    replicaOf: (database: DatabaseName) => target.set.of(database),
    stagedBody: async (digest: string, database: DatabaseName) =>
      resumable(await container.stage.body(digest, database)),
    onFork: container.forks.found,
    pack: false,
  };
  try {
    const outcomes = await withDeadline(Math.max(1000, leftMs() - settleMs), undefined, (signal) =>
      deliver([message], { ...options, signal }),
    );
    const outcome = outcomes.get(message.id) ?? unanswered;
    return { record, outcome, ...(progress === undefined ? {} : { progress }) };
  } catch (error) {
    return { record, outcome: { kind: "retry", error }, ...(progress === undefined ? {} : { progress }) };
  }
}

/** Fills the lane and the dead letters; returns what comes again by itself. */
async function settle(ended: readonly Ended[], turn: Turn): Promise<ReadonlySet<SQSRecord>> {
  const { container, target, url } = turn;
  const { telemetry, environment, queues } = container;
  const sendings: Sending[] = [];
  const again = new Set<SQSRecord>();
  for (const { record, outcome, progress } of ended) {
    const count = Number(record.attributes.ApproximateReceiveCount) || 1;
    const settled = settleLane(0, count, outcome, 0);
    if (settled.kind === "done") continue;
    const words = { messageId: record.messageId, replica: target.label, error: settled.error ?? "" };
    const receivedAtMs = receivedAtMsOf(record);
    if (settled.kind === "dead") {
      telemetry.add("DeadLettered", 1);
      telemetry.log.error(words, "a message is given up");
      tellDead(turn, settled.error);
      const message = deadLetter(record, receivedAtMs, settled.error);
      sendings.push({ record, url: environment.deadLetterUrls.get(target.label), message });
    } else if (hasMore(record, progress)) {
      telemetry.log.info(words, "a copy goes on later");
      sendings.push({ record, url, message: laneMessage(record, receivedAtMs, { copy: progress }) });
    } else {
      telemetry.log.warn(words, "a message comes again");
      again.add(record);
    }
  }
  const unsent = await sendAll(sendings, queues);
  for (const [record, error] of unsent) {
    telemetry.log.warn({ messageId: record.messageId, error }, "what goes on could not be sent");
    again.add(record);
  }
  return again;
}

/** Whether a copy came further than its message says: then a new message, with what is done, takes its place. */
function hasMore(record: SQSRecord, progress: string | undefined): progress is string {
  return progress !== undefined && progress !== "" && progress !== attributeOf(record, "copy");
}

function tellDead({ container, target }: Turn, why: string): void {
  container.telemetry.alarms.raise({
    code: "dead-letter",
    replica: target.lane,
    message: `${target.label}: messages are given up, the last: ${why}`,
    hint: "Look at what the message says of them; `pageferry replay` gives them another chance.",
  });
}
