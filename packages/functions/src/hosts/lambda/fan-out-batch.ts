// A batch of records of the ingest queue: looked at as `serve` looks at what comes by HTTP, then brought to all replicas at once. What
// a replica did not take goes on in its lane, alone; what nobody will ever take is a dead letter at once. It never throws: one record
// stops no other.

import { type DatabaseName, type Envelope, PageferryError, parseObjectName } from "@pageferry/format";
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";
import { ingestLane } from "../../consumer.ts";
import type { Message } from "../../deliver.ts";
import { fanOut } from "../../fanout.ts";
import { ingest } from "../../ingest.ts";
import type { Settlement } from "../../queue-messages.ts";
import { errorLine, outcomeOf } from "../../settle.ts";
import type { Container } from "./container.ts";
import { bytesOf, checkSizes, checkStage, databasesOf, deadLetter, laneMessage } from "./records.ts";
import { answer, type Sending, sendAll } from "./settled.ts";

/** A replica that is not done by then goes on in its lane: the others' messages wait for nobody. */
const deliverMsMax = 15_000;

/** What filling the lanes and answering may take. */
const settleMs = 5000;

/** What came of looking at a record. */
type Looked =
  | { readonly kind: "message"; readonly record: SQSRecord; readonly message: Message }
  | { readonly kind: "heartbeat"; readonly record: SQSRecord }
  | { readonly kind: "dead" | "retry"; readonly record: SQSRecord; readonly error: unknown };

/** Works a batch; the answer names the records that are to come again. */
export async function fanOutBatch(
  event: SQSEvent,
  context: Pick<Context, "getRemainingTimeInMillis">,
  container: Container,
): Promise<SQSBatchResponse> {
  const { queues, telemetry, environment } = container;
  const { Records: records } = event;
  const answering = { queues, url: environment.queueUrl, random: Math.random };
  telemetry.add("Received", records.length);
  try {
    const again = await work(records, context, container);
    telemetry.add("Retried", again.size);
    telemetry.add("Done", records.length - again.size);
    return await answer(again, answering);
  } catch (error) {
    telemetry.log.error({ error }, "a batch was given up: it comes again");
    telemetry.add("Retried", records.length);
    return await answer(records, answering);
  } finally {
    telemetry.flush();
  }
}

async function work(
  records: readonly SQSRecord[],
  context: Pick<Context, "getRemainingTimeInMillis">,
  container: Container,
): Promise<ReadonlySet<SQSRecord>> {
  await container.refreshNotes();
  const looked: Looked[] = [];
  for (const [at, record] of records.entries()) looked.push(await look(record, at, container));
  const messages = looked.flatMap((one) => (one.kind === "message" ? [one.message] : []));
  const deadlineMs = Math.max(1000, Math.min(deliverMsMax, context.getRemainingTimeInMillis() - settleMs));
  const settled = await fanOut(messages.sort(byTransaction), container.targets, { deadlineMs });
  const sendings = [
    ...looked.flatMap((one) => (one.kind === "dead" ? [refused(one, container)] : [])),
    ...settled.flatMap((settlement) => onward(settlement, records, container)),
  ];
  const unsent = await sendAll(sendings, container.queues);
  for (const [record, error] of unsent)
    container.telemetry.log.warn({ messageId: record.messageId, error }, "what goes on could not be sent");
  tellLag(messages, container);
  await container.saveNotes();
  const retried = looked.flatMap((one) => (one.kind === "retry" ? [one.record] : []));
  if (retried.length === 0) container.telemetry.alarms.clear({ code: "unavailable", replica: ingestLane });
  return new Set([...retried, ...unsent.keys()]);
}

/** The queue is unordered; what follows one another is packed only where it stands so. */
function byTransaction(a: Message, b: Message): number {
  const [first, second] = [firstTxIdOf(a.envelope), firstTxIdOf(b.envelope)];
  return first < second ? -1 : first > second ? 1 : 0;
}

function firstTxIdOf({ items: [first] }: Envelope): bigint {
  const name = first === undefined ? undefined : parseObjectName(first.name);
  if (name === undefined) return 0n;
  return "firstTxId" in name ? name.firstTxId : "txId" in name ? name.txId : 0n;
}

/** Decides as `serve` does at its door, with what only a queue needs besides: whose it is, and of which stage. */
async function look(record: SQSRecord, at: number, container: Container): Promise<Looked> {
  const { environment, stage, sources, forks, telemetry } = container;
  const receivedAtMs = Number(record.attributes.SentTimestamp);
  try {
    checkStage(record, environment.deployStage);
    const bytes = bytesOf(record);
    const checkDatabase = databasesOf(record, environment);
    const mayAdd = (database: DatabaseName, envelope: Envelope) => {
      checkDatabase(database);
      checkSizes(envelope);
    };
    let isKept = false;
    const keep = async () => {
      isKept = true;
    };
    const envelope = await ingest(
      bytes,
      {
        ...{ queue: { send: keep }, stage, sources, now: () => receivedAtMs },
        ...{ room: { check: async () => undefined }, onNoRoom: () => undefined },
        ...{ admit: async () => undefined, checkFork: forks.check },
      },
      mayAdd,
    );
    if (!isKept) return { kind: "heartbeat", record };
    return { kind: "message", record, message: { id: at, envelope, receivedAtMs } };
  } catch (error) {
    const { kind } = outcomeOf(error);
    const words = {
      messageId: record.messageId,
      sender: record.attributes.SenderId,
      error: errorLine(error),
    };
    telemetry.log.warn(words, kind === "dead" ? "a message is refused" : "a message cannot be looked at now");
    if (kind === "dead") return { kind, record, error };
    telemetry.alarms.raise({
      ...{ code: "unavailable", replica: ingestLane },
      message: `messages of the ingest queue cannot be looked at, the last: ${errorLine(error)}`,
      hint: hintOf(error),
    });
    return { kind: "retry", record, error };
  }
}

function refused(
  { record, error }: Extract<Looked, { readonly error: unknown }>,
  { environment, telemetry }: Container,
): Sending {
  const receivedAtMs = Number(record.attributes.SentTimestamp);
  telemetry.add("DeadLettered", 1);
  telemetry.alarms.raise({
    ...{ code: "dead-letter", replica: ingestLane },
    message: `messages of the ingest queue are refused, the last: ${errorLine(error)}`,
    hint: hintOf(error),
  });
  return {
    record,
    url: environment.deadLetterUrls.get("ingest"),
    message: deadLetter(record, receivedAtMs, errorLine(error)),
  };
}

function hintOf(error: unknown): string {
  return error instanceof PageferryError ? error.hint : "See the function's log.";
}

/** Where a message goes on: into the lanes of replicas that could not take it, or their dead letters. */
function onward(
  settlement: Settlement,
  records: readonly SQSRecord[],
  { environment, targets, telemetry }: Container,
): Sending[] {
  const record = records[settlement.id];
  if (record === undefined || settlement.kind !== "done") return [];
  const receivedAtMs = Number(record.attributes.SentTimestamp);
  return (settlement.onward ?? []).map(({ lane, dead, error = "unexpected" }): Sending => {
    const { label = "" } = targets.find((one) => one.lane === lane || one.copyLane === lane) ?? {};
    telemetry.add(dead === true ? "DeadLettered" : "Laned", 1);
    telemetry.log.warn(
      { messageId: record.messageId, replica: label, error },
      dead === true ? "a replica refuses a message" : "a message goes on in a lane",
    );
    return dead === true
      ? {
          record,
          url: environment.deadLetterUrls.get(label),
          message: deadLetter(record, receivedAtMs, error),
        }
      : { record, url: environment.laneUrls.get(label), message: laneMessage(record, receivedAtMs) };
  });
}

/** From the newest commit that a message brought until here. */
function tellLag(messages: readonly Message[], { telemetry }: Container): void {
  for (const { envelope } of messages) {
    const { newestStampMs } = envelope;
    if (newestStampMs !== null) telemetry.add("Lag", Math.max(1, Date.now() - newestStampMs));
  }
}
