// The function that works off the lane of one replica, whichever queue its batch comes from. What it does is lane-batch.ts.

import type { Context, SQSBatchResponse, SQSEvent } from "aws-lambda";
import { openContainer, opened } from "./container.ts";
import { laneBatch } from "./lane-batch.ts";

const container = opened(() => openContainer("lane"));

export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return laneBatch(event, context, await container());
}
