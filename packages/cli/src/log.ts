// What long-running commands say on standard error: alarms as lines for people, the rest as pino's JSON where it is asked for.

import { PageferryError } from "@pageferry/format";
import { pino } from "pino";
import type { Io } from "./io.ts";
import { printable } from "./terminal-text.ts";

/** What agent and host log with. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** An alarm, of the agent or of the host. */
export interface ToldAlarm {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly database?: string | undefined;
}

const levels = ["silent", "error", "warn", "info", "debug"] as const;

/** pino on standard error, at the level of PAGEFERRY_LOG; silent unless that is set, because alarms are told anyway. */
export function createLog(io: Io): Log {
  const asked = io.env.PAGEFERRY_LOG || "silent";
  const level = levels.find((known) => known === asked);
  if (level === undefined) {
    throw new PageferryError(
      "bad-config",
      `PAGEFERRY_LOG: ${JSON.stringify(asked)} is none of ${levels.join(", ")}`,
    );
  }
  return pino({ level, base: null }, { write: io.err });
}

/** Says that something is wrong: one line for what, one for what to do. */
export function tellAlarm(io: Io, { code, message, hint, database }: ToldAlarm): void {
  io.err(
    `alarm: ${code}: ${database === undefined ? "" : `${database}: `}${printable(message)}\nhint: ${printable(hint)}\n`,
  );
}

/** Says that it is over. */
export function tellOver(io: Io, { code, message, database }: Omit<ToldAlarm, "hint">): void {
  io.err(`over: ${code}: ${database === undefined ? "" : `${database}: `}${printable(message)}\n`);
}
