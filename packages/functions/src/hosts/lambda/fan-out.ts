// The function that takes batches from the ingest queue and brings them to all replicas. What it does is fan-out-batch.ts.

import type { Context, SQSBatchResponse, SQSEvent } from "aws-lambda";
import { openContainer, opened } from "./container.ts";
import { fanOutBatch } from "./fan-out-batch.ts";

const container = opened(() => openContainer("fan-out"));

export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return fanOutBatch(event, context, await container());
}
