// `check --end-to-end`: the newest commit of a file, waited for in every replica. What lies between is proved by its arrival.

import { stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import {
  type DatabaseName,
  formatDuration,
  formatTxId,
  isPageferryError,
  PageferryError,
  parseDatabaseName,
  type TxId,
} from "@pageferry/format";
import { databasesRoute } from "@pageferry/functions/routes";
import { onlyDatabase } from "./commands/wait.ts";
import { defaultDataDir } from "./data-dir.ts";
import { newestIn } from "./file-meta.ts";
import { createHostClient, type HostClient, hostToken } from "./host-client.ts";
import { hostOrigin } from "./host-origin.ts";
import type { Io } from "./io.ts";
import { waitInTurns } from "./wait-turns.ts";

/** What the flags say. */
export interface EndToEndFlags {
  /** Milliseconds. */
  readonly timeout: number;
  readonly host: string;
  readonly data: string;
  readonly json: boolean;
}

const timeoutMsDefault = 60_000;

/** Waits, and says where it arrived. `what` is a file, or the name of a database. Errors: `timeout`, what the host says. */
export async function checkEndToEnd(
  what: string | undefined,
  flags: Partial<EndToEndFlags>,
  io: Io,
): Promise<void> {
  const { data = defaultDataDir, timeout: timeoutMs = timeoutMsDefault, json = false } = flags;
  const origin = await hostOrigin(flags.host, data);
  const token = io.env.PAGEFERRY_RESTORE_TOKEN || (await hostToken(origin, data, io));
  const client = createHostClient(origin, token);
  const { database, txid } = await goalOf(what, client, io);
  const answer = await waitInTurns(client, database, { txid, timeoutMs, signal: io.signal }).catch(
    (error: unknown) => {
      if (!isPageferryError(error, "timeout")) throw error;
      const hint = "`pageferry status` and `pageferry doctor` say what holds it up.";
      throw new PageferryError("timeout", `not from end to end: ${error.message}`, { cause: error, hint });
    },
  );
  const from = txid === undefined ? "captured" : "file";
  if (json) return io.out(`${JSON.stringify({ ...answer, from })}\n`);
  const names = answer.replicas.map(({ name }) => name).join(", ");
  const of = txid === undefined ? "what was captured" : `what is in ${what}`;
  io.out(
    `from end to end: ${of}, transaction ${txid === undefined ? answer.txid : formatTxId(txid)}, is in ${names} after ${formatDuration(answer.waitedMs)}\n`,
  );
}

interface Goal {
  readonly database: DatabaseName;
  /** Undefined: what the agent has captured. */
  readonly txid: TxId | undefined;
}

async function goalOf(what: string | undefined, client: HostClient, io: Io): Promise<Goal> {
  const isFile = what !== undefined && (await stat(what).catch(() => undefined))?.isFile() === true;
  if (isFile) {
    return { database: parseDatabaseName(basename(what, extname(what))), txid: newestIn(what) };
  }
  const name = what ?? onlyDatabase(await client.call(databasesRoute, { params: {}, signal: io.signal }));
  return { database: parseDatabaseName(name), txid: undefined };
}
