// `check --end-to-end`: what is in a file now, sent at once where its agent runs on this machine, and looked for in every replica. What lies
// between is proved by its arrival.

import { stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import {
  type DatabaseName,
  formatDuration,
  formatTxId,
  type Generation,
  isPageferryError,
  PageferryError,
  parseDatabaseName,
  parseTxId,
  type TxId,
} from "@pageferry/format";
import { type AnswerOf, databaseRoute, databasesRoute } from "@pageferry/functions/routes";
import { onlyDatabase } from "./commands/wait.ts";
import { loadConfig } from "./config-file.ts";
import { type AgentFlags, agentShadowDir } from "./control/control-socket.ts";
import { type FoundAgent, findAgent, nameOfFile, sendNow } from "./control/send-now.ts";
import { defaultDataDir } from "./data-dir.ts";
import { type EndToEnd, formatEndToEnd, proofOf } from "./end-to-end-words.ts";
import { newestIn } from "./file-meta.ts";
import { createHostClient, type HostClient, hostToken } from "./host-client.ts";
import { hostOrigin } from "./host-origin.ts";
import type { Io } from "./io.ts";
import { waitInTurns } from "./wait-turns.ts";

/** What the flags say. */
export interface EndToEndFlags extends AgentFlags {
  /** Milliseconds. */
  readonly timeout: number;
  readonly host: string;
  readonly json: boolean;
}

const timeoutMsDefault = 60_000;

/** Agent and host keep the time themselves, and say what is missing; one that gives no answer at all is left after this. */
const graceMs = 5000;

/** An agent takes no longer. */
const sendMsMax = 3_600_000;

/** Sends, waits, and says where it arrived. `what` is a file, or the name of a database. Errors: `timeout`, what agent and host say. */
export async function checkEndToEnd(
  what: string | undefined,
  flags: Partial<EndToEndFlags>,
  io: Io,
): Promise<void> {
  const { timeout: timeoutMs = timeoutMsDefault, json = false } = flags;
  const over = AbortSignal.timeout(timeoutMs + graceMs);
  const time: Time = {
    endMs: performance.now() + timeoutMs,
    signal: AbortSignal.any([io.signal, over]),
  };
  try {
    const agent = await findAgent(await agentShadowDir(flags, io), time.signal);
    const client = await clientOf(agent, flags, io);
    const subject = await subjectOf(what, { agent, client, signal: time.signal });
    const seen = await lookFromEndToEnd(subject, { agent, client, time });
    if (json) io.out(`${JSON.stringify({ ...seen, ...proofOf(seen, io.now()) })}\n`);
    else io.out(formatEndToEnd(seen, subject.path ?? subject.database, io.now()));
  } catch (error) {
    throw io.signal.aborted ? error : inTime(error, over.aborted, timeoutMs);
  }
}

interface Time {
  /** By the monotonic clock. */
  readonly endMs: number;
  readonly signal: AbortSignal;
}

function inTime(error: unknown, isOver: boolean, timeoutMs: number): unknown {
  if (!isOver && !isPageferryError(error, "timeout")) return error;
  const why = isPageferryError(error, "timeout")
    ? error.message
    : `no answer in ${formatDuration(timeoutMs)}`;
  const hint = "`pageferry status` and `pageferry doctor` say what holds it up.";
  return new PageferryError("timeout", `not from end to end: ${why}`, { cause: error, hint });
}

async function clientOf(agent: FoundAgent, flags: Partial<EndToEndFlags>, io: Io): Promise<HostClient> {
  const dataDir = flags.data ?? (await configuredDataDir(flags, io)) ?? defaultDataDir;
  const origin = await hostOrigin(flags.host, dataDir).catch((error: unknown) => {
    // The host that an agent alone sends to is the one to ask.
    const queue = "report" in agent ? agent.report.queue : "";
    if (!isPageferryError(error, "not-found") || !/^https?:\/\//.test(queue)) throw error;
    return hostOrigin(queue, dataDir);
  });
  return createHostClient(origin, io.env.PAGEFERRY_RESTORE_TOKEN || (await hostToken(origin, dataDir, io)));
}

async function configuredDataDir({ config }: Partial<EndToEndFlags>, io: Io): Promise<string | undefined> {
  return (await loadConfig(io, config)).config.dataDir;
}

/** What is checked. */
interface Subject {
  readonly database: DatabaseName;
  /** Undefined: what the agent holds, or else what the host has heard of. */
  readonly path: string | undefined;
}

interface Asked {
  readonly agent: FoundAgent;
  readonly client: HostClient;
  readonly signal: AbortSignal;
}

async function subjectOf(what: string | undefined, { agent, client, signal }: Asked): Promise<Subject> {
  const isFile = what !== undefined && (await stat(what).catch(() => undefined))?.isFile() === true;
  if (isFile) {
    const known = "report" in agent ? await nameOfFile(what, agent.report) : undefined;
    const database = parseDatabaseName(known ?? basename(what, extname(what)));
    return { database, path: what };
  }
  const name = what ?? onlyDatabase(await client.call(databasesRoute, { params: {}, signal }));
  return { database: parseDatabaseName(name), path: undefined };
}

interface Looking {
  readonly agent: FoundAgent;
  readonly client: HostClient;
  readonly time: Time;
}

/** What is waited for. */
interface Goal extends Pick<EndToEnd, "from" | "forced" | "notForced"> {
  readonly txId: TxId | undefined;
  readonly generation?: Generation;
  /** What the host had before, where that is known. */
  readonly beforeTxId: TxId | null;
}

async function lookFromEndToEnd(subject: Subject, { agent, client, time }: Looking): Promise<EndToEnd> {
  const { database } = subject;
  const begunMs = performance.now();
  const before = await statusOf(client, database, time.signal);
  const goal = await goalOf(subject, { agent, before, time });
  const { txId, generation, beforeTxId, ...said } = goal;
  const answer = await waitInTurns(client, database, {
    ...{ txid: txId, generation, isFresh: true },
    ...{ timeoutMs: Math.max(1, time.endMs - performance.now()), signal: time.signal },
  });
  const { txid } = answer;
  const isNew = txid !== null && (beforeTxId === null || parseTxId(txid) > beforeTxId);
  return {
    ...{ ...answer, ...said, waitedMs: Math.round(performance.now() - begunMs) },
    travelled: isNew ? { after: beforeTxId === null ? null : formatTxId(beforeTxId), upTo: txid } : null,
    lastHeard: before?.lastHeard ?? null,
  };
}

type HostStatus = AnswerOf<typeof databaseRoute>;

/** How it stood before; undefined: the host has not heard of it yet. */
async function statusOf(
  client: HostClient,
  database: DatabaseName,
  signal: AbortSignal,
): Promise<HostStatus | undefined> {
  try {
    return await client.call(databaseRoute, { params: { database }, signal });
  } catch (error) {
    if (isPageferryError(error, "not-found")) return undefined;
    throw error;
  }
}

interface GoalParts {
  readonly agent: FoundAgent;
  readonly before: HostStatus | undefined;
  readonly time: Time;
}

async function goalOf({ database, path }: Subject, { agent, before, time }: GoalParts): Promise<Goal> {
  const notForced = whyNot(agent, database);
  if ("report" in agent && notForced === null) {
    const timeoutMs = Math.min(sendMsMax, Math.max(0, Math.floor(time.endMs - performance.now())));
    const sent = await sendNow(agent, database, { timeoutMs, signal: time.signal });
    return { ...sent, from: "file", forced: true, notForced };
  }
  const queued = before?.queued ?? null;
  return {
    txId: path === undefined ? undefined : newestIn(path),
    beforeTxId: queued === null ? null : parseTxId(queued),
    ...{ from: path === undefined ? "captured" : "file", forced: false, notForced },
  };
}

/** Null: the agent on this machine backs it up. */
function whyNot(agent: FoundAgent, database: string): string | null {
  if ("error" in agent) return agent.error.message;
  if (agent.report.databases.some(({ name }) => name === database)) return null;
  return `the agent with ${agent.shadowDir} has no ${database}`;
}
