// What the API takes goes into the ingest queue, as if its agent had sent it there: an envelope in base64, and several where one message
// cannot hold it.

import { decodeEnvelope, type Envelope, encodeEnvelope, PageferryError } from "@pageferry/format";
import type { DurableQueue } from "../../queue.ts";
import type { Queues } from "./sqs.ts";

/** What SQS takes as one message, attributes and all. */
const messageBytesMax = 1024 * 1024;

/** Left for attributes. */
const reserveBytes = 2 * 1024;

/** Base64 makes four bytes of three. */
const envelopeBytesInQueue = Math.floor((messageBytesMax - reserveBytes) / 4) * 3;

/** What an envelope takes beside its items. */
const headBytes = 4 * 1024;

/** And an item beside its bytes. */
const itemHeadBytes = 512;

export interface ForwardOptions {
  readonly queues: Pick<Queues, "send">;
  readonly queueUrl: string;
  /** The deployment's; a function of another one refuses what has another's. */
  readonly deployStage: string;
}

/** A queue that is only sent to. `send` resolves when SQS has the whole envelope; what came in part is found to be present later. */
export function forwardQueue({ queues, queueUrl, deployStage }: ForwardOptions): Pick<DurableQueue, "send"> {
  const attributes = { stage: deployStage };
  return {
    async send(_lane, { body }) {
      const parts =
        body.length <= envelopeBytesInQueue
          ? [body]
          : splitEnvelope(decodeEnvelope(body), envelopeBytesInQueue);
      // In order, as the agent has them.
      for (const part of parts) {
        const [failed] = await queues.send(queueUrl, [
          { body: Buffer.from(part).toString("base64"), attributes },
        ]);
        if (failed !== undefined) throw failed;
      }
    },
  };
}

/** An envelope as several of at most `bytesMax` each, in order. Errors: `too-large` for an item that fits into none. */
export function splitEnvelope(envelope: Envelope, bytesMax: number): readonly Uint8Array[] {
  const parts: Envelope["items"][number][][] = [];
  let left = 0;
  for (const item of envelope.items) {
    const bytes = itemHeadBytes + ("bytes" in item ? item.bytes.length : 0);
    if (bytes > bytesMax - headBytes) {
      const message = `object ${item.name}: ${bytes} bytes cannot go through the queue, at most ${bytesMax}`;
      throw new PageferryError("too-large", message, { hint: "Stage it first, and name it by its digest." });
    }
    if (parts.length === 0 || bytes > left) {
      parts.push([]);
      left = bytesMax - headBytes;
    }
    parts.at(-1)?.push(item);
    left -= bytes;
  }
  return parts.map((items) => encodeEnvelope({ ...envelope, items }));
}
