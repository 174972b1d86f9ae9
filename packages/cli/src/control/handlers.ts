// What the control socket answers. Requests and answers are told in docs/operations.md#the-control-socket.

import type { DatabaseStatus, Queue } from "@pageferry/agent";
import { formatDuration, formatTxId, PageferryError, type TxId } from "@pageferry/format";
import type { CaughtUp } from "../catch-up.ts";
import type { Fleet, MemberView, Reloaded } from "../many/fleet.ts";
import type { ControlHandler, Fields } from "./control-server.ts";
import { type SyncParts, syncNow } from "./sync.ts";

/** What they work with. */
export interface HandlerParts extends Omit<SyncParts, "members"> {
  readonly fleet: Fleet;
  readonly queue: Queue;
  readonly startedMs: number;
  /** Errors: `bad-config`. */
  reload(): Promise<Reloaded>;
}

/** A database as `GET /v1/status` shows it. */
export interface AgentDatabase
  extends Omit<
    DatabaseStatus,
    "foundTxId" | "seenTxId" | "shadowedTxId" | "acknowledgedTxId" | "snapshotTxId" | "storedTxId"
  > {
  readonly origin: MemberView["origin"];
  /** 16 hex digits each. */
  readonly seenTxid: string | null;
  readonly shadowedTxid: string | null;
  readonly acknowledgedTxid: string | null;
  readonly storedTxid: string | null;
}

/** The answer of `GET /v1/status`. */
export interface AgentReport {
  readonly pid: number;
  readonly started: string;
  readonly queue: string;
  readonly databases: readonly AgentDatabase[];
}

/** The answer of `POST /v1/sync`. */
export interface SyncReport {
  readonly databases: readonly (Omit<CaughtUp, "txId"> & { readonly txid: string })[];
}

/** A wait holds a client's place; who waits longer asks again. */
const timeoutMsMax = 3_600_000;
const timeoutMsDefault = 30_000;

/** Makes them. */
export function controlHandlers(parts: HandlerParts): Readonly<Record<string, ControlHandler>> {
  const { fleet, agent, queue, startedMs, reload } = parts;
  return {
    "GET /v1/status": (): AgentReport => {
      const origins = new Map(fleet.members().map(({ name, origin }) => [name, origin]));
      return {
        ...{ pid: process.pid, started: new Date(startedMs).toISOString(), queue: queue.name },
        databases: agent.status().databases.map((one) => viewOf(one, origins.get(one.name) ?? "configured")),
      };
    },
    "POST /v1/register"(fields) {
      only(fields, ["path", "name"]);
      const path = textOf(fields, "path");
      if (!path.startsWith("/"))
        throw new PageferryError("bad-request", "path: an absolute path is expected");
      return fleet.register(path, fields.name === undefined ? undefined : textOf(fields, "name"));
    },
    "POST /v1/unregister"(fields) {
      only(fields, ["name"]);
      return fleet.unregister(textOf(fields, "name"));
    },
    async "POST /v1/sync"(fields, signal): Promise<SyncReport> {
      only(fields, ["names", "wait", "timeoutMs"]);
      const [names, timeoutMs] = [namesOf(fields), timeoutOf(fields)];
      const begunMs = performance.now();
      // All of them are also those that have just come.
      if (names.length === 0) await inTime(fleet.look(), timeoutMs);
      const leftMs = Math.max(0, timeoutMs - (performance.now() - begunMs));
      const caught = await syncNow(
        { ...parts, members: fleet.members },
        { names, isStoredToo: fields.wait === true, timeoutMs: leftMs, signal },
      );
      return { databases: caught.map(({ txId, ...rest }) => ({ ...rest, txid: formatTxId(txId) })) };
    },
    "POST /v1/reload"(fields) {
      only(fields, []);
      return reload();
    },
  };
}

async function inTime(work: Promise<void>, timeoutMs: number): Promise<void> {
  const late = Promise.withResolvers<never>();
  const error = new PageferryError(
    "timeout",
    `not registered in ${formatDuration(timeoutMs)}: databases that have just come`,
  );
  const timer = setTimeout(() => late.reject(error), timeoutMs);
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {});
  }
}

function viewOf(status: DatabaseStatus, origin: MemberView["origin"]): AgentDatabase {
  const {
    foundTxId: _,
    snapshotTxId: __,
    seenTxId,
    shadowedTxId,
    acknowledgedTxId,
    storedTxId,
    ...rest
  } = status;
  const hex = (txId: TxId | null) => (txId === null ? null : formatTxId(txId));
  return {
    ...{ ...rest, origin },
    ...{ seenTxid: hex(seenTxId), shadowedTxid: hex(shadowedTxId) },
    ...{ acknowledgedTxid: hex(acknowledgedTxId), storedTxid: hex(storedTxId) },
  };
}

function only(fields: Fields, known: readonly string[]): void {
  const unknown = Object.keys(fields).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new PageferryError("bad-request", `${unknown.slice(0, 80)} is not a known field`);
}

function textOf(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value === "string" && value !== "" && !value.includes("\0")) return value;
  throw new PageferryError("bad-request", `${key}: a text is expected`);
}

function namesOf({ names = [] }: Fields): readonly string[] {
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw new PageferryError("bad-request", "names: a list of texts is expected");
}

function timeoutOf({ timeoutMs = timeoutMsDefault }: Fields): number {
  if (typeof timeoutMs === "number" && timeoutMs >= 0 && timeoutMs <= timeoutMsMax) return timeoutMs;
  throw new PageferryError(
    "bad-request",
    `timeoutMs: a number up to ${timeoutMsMax} (${formatDuration(timeoutMsMax)}) is expected`,
  );
}
