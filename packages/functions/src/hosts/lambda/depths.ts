// How much waits in the queues of a deployment, as far as SQS tells: of all databases together, and about.

import { ingestLane } from "../../consumer.ts";
import type { DurableQueue, LaneDepth } from "../../queue.ts";
import type { CallOptions } from "../../store.ts";
import type { LambdaTarget } from "./container.ts";
import type { LambdaEnvironment } from "./environment.ts";
import type { Letters } from "./sqs-letters.ts";

/** A queue that cannot be looked at is as it was when it could. */
const unknown = { visible: 0, hidden: 0 };

export interface Depths extends Pick<DurableQueue, "depths"> {
  /** Looks at the queues, where that was done longer ago. What cannot be seen stays as it was. */
  refresh(ageMsMax: number, call?: CallOptions): Promise<void>;
  /** By the name of a lane. */
  deadLetters(): ReadonlyMap<string, number>;
}

export interface DepthsOptions {
  readonly letters: Pick<Letters, "depth">;
  readonly targets: readonly Pick<LambdaTarget, "lane" | "label">[];
  readonly environment: Pick<LambdaEnvironment, "queueUrl" | "laneUrls" | "deadLetterUrls">;
}

interface Lane {
  readonly lane: string;
  readonly url: string | undefined;
  readonly deadUrl: string | undefined;
  /** Whether what somebody works on waits, too. */
  readonly isPatient: boolean;
  messages: number;
  dead: number;
}

export function createDepths({ letters, targets, environment }: DepthsOptions): Depths {
  const { queueUrl, laneUrls, deadLetterUrls } = environment;
  const none = { messages: 0, dead: 0 };
  const lanes: Lane[] = [
    // What was taken from it is a window's worth, and on its way; what nobody takes is not.
    { lane: ingestLane, url: queueUrl, deadUrl: deadLetterUrls.get("ingest"), isPatient: false, ...none },
    ...targets.map(({ lane, label }) => ({
      ...{ lane, url: laneUrls.get(label), deadUrl: deadLetterUrls.get(label), isPatient: true, ...none },
    })),
  ];
  let readAtMs = Number.NEGATIVE_INFINITY;
  const look = async (url: string | undefined, call: CallOptions) =>
    url === undefined ? unknown : letters.depth(url, call);
  return {
    async refresh(ageMsMax, call = {}) {
      if (performance.now() - readAtMs <= ageMsMax) return;
      const startedMs = performance.now();
      await Promise.allSettled(
        lanes.map(async (one) => {
          const [waiting, dead] = await Promise.all([look(one.url, call), look(one.deadUrl, call)]);
          one.messages = waiting.visible + (one.isPatient ? waiting.hidden : 0);
          one.dead = dead.visible + dead.hidden;
        }),
      );
      call.signal?.throwIfAborted();
      readAtMs = startedMs;
    },
    deadLetters: () => new Map(lanes.map(({ lane, dead }) => [lane, dead])),
    depths: (database = "") =>
      lanes.map(({ lane, messages, dead }): LaneDepth => ({ lane, database, messages, bytes: 0, dead })),
  };
}
