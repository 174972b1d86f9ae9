// Webhooks that are told of alarms: each for itself, one call at a time, again until it succeeds, and never in the way of
// work. Of an alarm only its newest event waits.

import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError, type WebhookConfig } from "@pageferry/format";
import { type AlarmEvent, payloadOf } from "./alarm-payload.ts";
import type { Alarm } from "./alarms.ts";
import { createOutbound, type OutboundOptions } from "./outbound.ts";
import { backoffMs, errorLine } from "./settle.ts";

/** Alarms that wait for one webhook: a thousand databases in trouble at once. Above it the oldest is dropped. */
const waitingMax = 1000;

/** What could not be told for a day is in the status, if it still stands. */
const givenUpMs = 24 * 60 * 60_000;

/** Failures in a row before the host itself raises an alarm. */
const troubledFailures = 3;

/** Told by all but webhooks: that one of them fails. */
export const webhookAlarm = "webhook";

export interface AlarmSinks {
  raised(alarm: Alarm): void;
  cleared(alarm: Alarm): void;
  /** Ends what is under way, at once: what still stands is told again after the next start. */
  stop(): Promise<void>;
}

export interface AlarmSinksOptions extends OutboundOptions {
  readonly webhooks: readonly WebhookConfig[];
  /** The name of this machine. */
  readonly host: string;
  /** In [0, 1). */
  readonly random: () => number;
  /** Told of a webhook's host and what ails it, while it fails; `undefined` when none does any more. */
  readonly onTrouble: (message: string | undefined) => void;
  readonly onTold?: (result: "sent" | "failed" | "dropped") => void;
  /** A pause after so many failures in a row, ms. Default: doubling from a second to a minute. */
  readonly pauseMs?: (failures: number) => number;
}

export function createAlarmSinks(options: AlarmSinksOptions): AlarmSinks {
  const stopping = new AbortController();
  const troubles = new Map<WebhookConfig, string>();
  const sinks = options.webhooks.map((webhook) =>
    createSink(webhook, options, stopping.signal, (trouble) => {
      if (trouble === undefined) troubles.delete(webhook);
      else troubles.set(webhook, trouble);
      options.onTrouble([...troubles.values()][0]);
    }),
  );
  const tell = (event: AlarmEvent) => {
    if (event.alarm.code === webhookAlarm || stopping.signal.aborted) return;
    for (const sink of sinks) sink.tell(event);
  };
  return {
    raised: (alarm) => tell({ event: "raised", alarm }),
    cleared: (alarm) => tell({ event: "cleared", alarm }),
    async stop() {
      stopping.abort();
      await Promise.all(sinks.map((sink) => sink.ended()));
    },
  };
}

interface Waiting extends AlarmEvent {
  readonly sinceMs: number;
}

function createSink(
  webhook: WebhookConfig,
  options: AlarmSinksOptions,
  signal: AbortSignal,
  onTrouble: (message: string | undefined) => void,
) {
  const { onTold = () => undefined, pauseMs = (failures) => backoffMs(failures, options.random()) } = options;
  const outbound = createOutbound(options);
  const waiting = new Map<string, Waiting>();
  let running: Promise<void> | undefined;
  let failures = 0;

  async function attempt(key: string, event: Waiting): Promise<void> {
    const isNewest = () => waiting.get(key) === event;
    try {
      const payload = payloadOf(event, webhook.format, options.host);
      await outbound.call({ url: webhook.url, method: "POST", ...payload, signal });
      onTold("sent");
      if (isNewest()) waiting.delete(key);
      if (failures > 0) onTrouble(undefined);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      onTold("failed");
      if (failures >= troubledFailures || !mayPass(error)) onTrouble(errorLine(error));
      // What is wrong with the call itself does not pass by repeating it.
      if (isNewest() && (!mayPass(error) || performance.now() - event.sinceMs > givenUpMs)) {
        waiting.delete(key);
        onTold("dropped");
      }
      if (waiting.size > 0) await sleep(pauseMs(failures), undefined, { signal }).catch(() => undefined);
    }
  }

  async function run(): Promise<void> {
    for (;;) {
      const [next] = waiting;
      if (next === undefined || signal.aborted) break;
      await attempt(...next);
    }
    running = undefined;
  }

  return {
    tell(event: AlarmEvent) {
      const { code, database = "", replica = "" } = event.alarm;
      if (webhook.codes !== undefined && !webhook.codes.includes(code)) return;
      const key = `${code}\n${database}\n${replica}`;
      waiting.delete(key);
      waiting.set(key, { ...event, sinceMs: performance.now() });
      const [oldest] = waiting.keys();
      if (waiting.size > waitingMax && oldest !== undefined) {
        waiting.delete(oldest);
        onTold("dropped");
      }
      running ??= run();
    },
    ended: () => running ?? Promise.resolve(),
  };
}

function mayPass(error: unknown): boolean {
  return isPageferryError(error, "unavailable");
}
