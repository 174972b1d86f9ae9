// Records of SQS as messages: from whom, for which stage, what they carry, and what goes on with them into lanes and dead letters.

import { type DatabaseName, type Envelope, PageferryError } from "@pageferry/format";
import type { SQSRecord } from "aws-lambda";
import type { LambdaEnvironment } from "./environment.ts";
import { messageBytes, type OutgoingMessage } from "./sqs.ts";

/** Copies are tested up to this size; what is larger is refused, not tried. */
export const copiedBytesMax = 8 * 1024 * 1024 * 1024;

/** A message of SQS, its attributes included. */
const messageBytesMax = 1024 * 1024;

/** A sentence, for whoever reads dead letters. */
const reasonLengthMax = 400;

/** The bytes of a record's body. Errors: `corrupt`. */
export function bytesOf({ body, messageId }: SQSRecord): Uint8Array {
  if (body.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(body))
    throw new PageferryError("corrupt", `message ${messageId}: is no base64`);
  return Buffer.from(body, "base64");
}

/** Throws `too-large` for an envelope that points at what is above the tested size. */
export function checkSizes({ items }: Envelope): void {
  for (const item of items) {
    if (!("digest" in item) || item.size <= copiedBytesMax) continue;
    throw new PageferryError(
      "too-large",
      `object ${item.name}: ${item.size} bytes, functions copy at most ${copiedBytesMax}`,
      { hint: "Run `pageferry serve` for this database: it has no such bound." },
    );
  }
}

/** Throws `forbidden` for a message of an agent that is configured for another stage. */
export function checkStage(record: SQSRecord, deployStage: string): void {
  const stage = attributeOf(record, "stage");
  if (stage === undefined || stage === deployStage) return;
  throw new PageferryError(
    "forbidden",
    `message ${record.messageId}: is of an agent of stage ${JSON.stringify(stage.slice(0, 64))}, this is ${deployStage}`,
    { hint: "Give the agent the queue of its own stage." },
  );
}

/** Which databases the sender of a record may add to: throws `forbidden` for another one. */
export function databasesOf(
  record: SQSRecord,
  { senders, config }: Pick<LambdaEnvironment, "senders" | "config">,
): (database: DatabaseName) => void {
  const known = config.databases.map(({ name }) => name);
  return (database) => {
    if (known.length > 0 && !known.includes(database)) {
      throw new PageferryError("forbidden", `database ${database} is none of ${known.join(", ")}`, {
        hint: "Add it to `databases` of the deployment, or correct the agent's name of it.",
      });
    }
    if (senders === undefined) return;
    const sender = senderOf(record, senders);
    const granted = senders.get(sender);
    if (granted === "*" || granted?.has(database) === true) return;
    throw new PageferryError("forbidden", `sender ${sender} is not bound to database ${database}`, {
      hint: "Add the agent's identity to the deployment's senders; if it is none of yours, revoke its credentials.",
    });
  };
}

/**
 * The unique id of the identity that sent a record, without its session's name. What somebody who may send for all databases sends
 * again, such as a dead letter, stays its first sender's.
 */
function senderOf(record: SQSRecord, senders: NonNullable<LambdaEnvironment["senders"]>): string {
  const sender = idOf(record.attributes.SenderId);
  const first = attributeOf(record, "sender");
  return first !== undefined && senders.get(sender) === "*" ? idOf(first) : sender;
}

function idOf(senderId: string): string {
  return senderId.split(":", 1)[0] ?? "";
}

/** When the ingest queue took what a record carries: it is kept through lanes and dead letters. */
export function receivedAtMsOf(record: SQSRecord): number {
  const kept = attributeOf(record, "receivedAtMs");
  return Number(kept !== undefined && /^\d{1,15}$/.test(kept) ? kept : record.attributes.SentTimestamp);
}

export function attributeOf({ messageAttributes }: SQSRecord, name: string): string | undefined {
  return messageAttributes[name]?.stringValue;
}

/** A record as it goes on in a replica's lane. */
export function laneMessage(
  { body }: SQSRecord,
  receivedAtMs: number,
  more: Readonly<Record<string, string>> = {},
): OutgoingMessage {
  return { body, attributes: { receivedAtMs: String(receivedAtMs), ...more } };
}

/** A record as a dead letter: whole, with why (an `errorLine`), and all that a second chance needs. */
export function deadLetter(record: SQSRecord, receivedAtMs: number, why: string): OutgoingMessage {
  const stage = attributeOf(record, "stage");
  const reason = why.replace(/[^\x20-\x7e]/g, "?").slice(0, reasonLengthMax);
  const attributes = {
    receivedAtMs: String(receivedAtMs),
    ...{ code: reason.split(":", 1)[0] || "unexpected", reason: reason || "unexpected" },
    sender: attributeOf(record, "sender") ?? record.attributes.SenderId,
    ...(stage === undefined || stage === "" ? {} : { stage }),
  };
  const letter = { body: record.body, attributes };
  // Somebody may have filled it to the last byte.
  return messageBytes(letter) <= messageBytesMax ? letter : { body: record.body, attributes: {} };
}
