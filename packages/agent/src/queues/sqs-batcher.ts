// Gathers messages that are sent at about the same time, so that they share a request. Each send ends by its own message alone.
import { isPageferryError, PageferryError } from "@pageferry/format";
import { chooseBatch, isFull, type Outcome } from "./sqs-batch.ts";

/** How to gather. */
export interface BatcherOptions {
  /** How long the first message waits for others, ms; 0 sends what comes in one turn of the event loop together. */
  readonly gatherMs: number;
  /** What a message counts for, beside its body. */
  readonly attributeBytes: number;
  /** Sends bodies in one request; one outcome for each. Throws where nothing is known of any. */
  readonly request: (bodies: readonly string[], signal: AbortSignal) => Promise<readonly Outcome[]>;
}

/** Sends messages. */
export interface Batcher {
  /** Returns when the message is in the queue. */
  send(body: string, signal?: AbortSignal): Promise<void>;
}

interface Waiting {
  readonly body: string;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** A heartbeat of a database is some hundred bytes; a request that has less room than this is full. */
const smallestBytes = 512;

/** Makes a batcher. */
export function createBatcher(options: BatcherOptions): Batcher {
  const { gatherMs, attributeBytes, request } = options;
  let waiting: Waiting[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** Of each message on its way, what takes it out of its request. */
  const underWay = new Map<Waiting, () => void>();

  function notice(): void {
    while (isFull(sizes(), smallestBytes)) flush();
    if (waiting.length > 0) timer ??= setTimeout(flush, gatherMs);
  }

  function sizes(): number[] {
    return waiting.map(({ bytes }) => bytes);
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const chosen = new Set(chooseBatch(sizes()).map((at) => waiting[at]));
    const batch = waiting.filter((one) => chosen.has(one));
    waiting = waiting.filter((one) => !chosen.has(one));
    if (waiting.length > 0) timer = setTimeout(flush, gatherMs);
    if (batch.length > 0) void deliver(batch);
  }

  async function deliver(batch: readonly Waiting[]): Promise<void> {
    const controller = new AbortController();
    const wanted = new Set(batch);
    for (const one of batch) {
      underWay.set(one, () => {
        wanted.delete(one);
        // What others wait for goes on.
        if (wanted.size === 0) controller.abort();
      });
    }
    try {
      const outcomes = await request(
        batch.map(({ body }) => body),
        controller.signal,
      );
      for (const [at, one] of batch.entries()) {
        const outcome = outcomes[at];
        if (outcome === "taken") one.resolve();
        else one.reject(outcome ?? new PageferryError("unavailable", "the answer says nothing of a message"));
      }
    } catch (error) {
      // One message may be at fault for the refusal of all: each shows it alone.
      if (batch.length > 1 && isOfContent(error)) await Promise.all([...wanted].map((one) => deliver([one])));
      else for (const one of batch) one.reject(error);
    } finally {
      for (const one of batch) underWay.delete(one);
    }
  }

  return {
    async send(body, signal) {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const one: Waiting = { body, bytes: Buffer.byteLength(body) + attributeBytes, resolve, reject };
      const onAbort = () => {
        waiting = waiting.filter((other) => other !== one);
        underWay.get(one)?.();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      waiting.push(one);
      notice();
      return promise.finally(() => signal?.removeEventListener("abort", onAbort));
    },
  };
}

function isOfContent(error: unknown): boolean {
  return isPageferryError(error, "bad-request") || isPageferryError(error, "too-large");
}
