// What a follower says: each state that it published, and what it waits for, as lines for people or as JSON.

import {
  errorTable,
  formatDuration,
  formatStateHash,
  formatTxId,
  isPageferryError,
  type StandbyState,
} from "@pageferry/format";
import type { RestoreFileResult } from "@pageferry/format/node";
import type { Io } from "../io.ts";
import { formatBytes, formatTime } from "../table.ts";
import { printable } from "../terminal-text.ts";

/** A state that was published. */
export interface Published {
  readonly result: RestoreFileResult;
  /** Only what was new was fetched, or all of it. */
  readonly how: "delta" | "whole";
  /** Why all of it. */
  readonly why: string | undefined;
}

/** Tells what happens. */
export interface Report {
  begun(state: StandbyState | undefined): void;
  published(published: Published): void;
  /** What is waited for; told when it begins, when it is something else, and once a minute. */
  waiting(error: unknown, state: StandbyState | undefined): void;
  /** What a person should hear of a plan; each once. */
  warn(warnings: readonly string[]): void;
  /** The archive answers, and there is nothing new. */
  upToDate(): void;
}

/** A line a minute is enough for people, and for a log. */
const lineMs = 60_000;

/** Warnings that are remembered as told. */
const warningsMax = 100;

/** A report of the standby at `path` that follows `name`. */
export function createReport(
  io: Io,
  { path, name, json }: { readonly path: string; readonly name: string; readonly json: boolean },
): Report {
  const told = { waiting: undefined as string | undefined, waitingMs: 0, publishedMs: 0, since: 0 };
  const warned = new Set<string>();
  let waitingSinceMs: number | undefined;
  const event = (word: string, fields: object): void => {
    io.out(`${JSON.stringify({ event: word, at: formatTime(io.now()), ...fields })}\n`);
  };
  const over = (): void => {
    if (waitingSinceMs === undefined) return;
    const ms = io.now() - waitingSinceMs;
    if (json) event("over", { waitedMs: ms });
    else io.err(`over: it goes on, after ${formatDuration(Math.max(1, Math.round(ms)))}\n`);
    waitingSinceMs = undefined;
    told.waiting = undefined;
  };
  return {
    begun(state) {
      if (json) return event("following", { output: path, from: name, ...pointJson(state) });
      const from =
        state === undefined ? "" : `, from ${formatTxId(state.txId)} (${formatTime(state.stampMs)}) on`;
      io.out(`following ${name} to ${path}${from}\n`);
    },
    published({ result, how, why }) {
      over();
      const lagMs = result.stampMs === null ? null : Math.max(0, io.now() - result.stampMs);
      if (json) return event("published", publishedJson(result, { how, why, lagMs }));
      told.since += 1;
      if (how === "delta" && io.now() < told.publishedMs + lineMs) return;
      told.publishedMs = io.now();
      io.out(publishedLine(result, { how, why, lagMs, since: told.since }));
      told.since = 0;
    },
    waiting(error, state) {
      waitingSinceMs ??= io.now();
      const message = error instanceof Error ? error.message : String(error);
      if (message === told.waiting && io.now() < told.waitingMs + lineMs) return;
      Object.assign(told, { waiting: message, waitingMs: io.now() });
      const code = isPageferryError(error) ? error.code : "unexpected";
      if (json)
        return event("waiting", { code, message, ...pointJson(state), waitedMs: io.now() - waitingSinceMs });
      const stays =
        state === undefined
          ? "there is no standby yet"
          : `the standby is at ${formatTxId(state.txId)}, committed ${ageOf(state, io.now())}`;
      io.err(
        `waiting: ${printable(message)}; ${stays}\nhint: ${isPageferryError(error) ? error.hint : errorTable.unavailable.hint}\n`,
      );
    },
    warn(warnings) {
      for (const warning of warnings) {
        if (!warned.has(warning)) io.err(`warning: ${warning}\n`);
        warned.add(warning);
        if (warned.size > warningsMax) warned.clear();
      }
    },
    upToDate: over,
  };
}

function ageOf({ stampMs }: StandbyState, nowMs: number): string {
  if (stampMs === null) return "nobody knows when";
  return `${formatTime(stampMs)}, ${formatDuration(Math.max(1000, Math.round((nowMs - stampMs) / 1000) * 1000))} ago`;
}

function pointJson(state: StandbyState | undefined) {
  if (state === undefined) return {};
  const { generation, txId, stampMs } = state;
  return { generation, txid: formatTxId(txId), time: stampMs === null ? null : formatTime(stampMs) };
}

function publishedJson(
  result: RestoreFileResult,
  { how, why, lagMs }: Pick<Published, "how" | "why"> & { readonly lagMs: number | null },
) {
  const { generation, txId, stampMs, bytes, fetchedBytes, objects, stateHash } = result;
  return {
    ...{ generation, txid: formatTxId(txId), time: stampMs === null ? null : formatTime(stampMs), lagMs },
    ...{ how, ...(why === undefined ? {} : { why }), bytes, fetchedBytes, objects },
    stateHash: stateHash === undefined ? null : formatStateHash(stateHash),
    ms: Math.round(result.ms),
  };
}

function publishedLine(
  result: RestoreFileResult,
  {
    how,
    why,
    lagMs,
    since,
  }: Pick<Published, "how" | "why"> & { readonly lagMs: number | null; readonly since: number },
): string {
  const lag = lagMs === null ? "" : `, ${(lagMs / 1000).toFixed(1)} s behind its commit`;
  const all = how === "whole" ? ` all of it (${why}): ${formatBytes(result.fetchedBytes)} fetched` : "";
  const states = since > 1 ? `, ${since} states since the last line` : "";
  return `at ${formatTxId(result.txId)} of generation ${result.generation} (${formatTime(result.stampMs)})${lag}${all && `;${all}`}${states}\n`;
}
