// Who may call the local host: its own token, from the environment, the configuration or a file that it makes, and those that
// `pageferry token create` made beside it.

import { join } from "node:path";
import type { Authenticate } from "../access.ts";
import type { Alarms } from "../alarms.ts";
import { checkToken, createAuthenticate, tokenFromFile } from "../auth.ts";
import { createFailureLimit } from "../failures.ts";
import { createSessions, type Sessions } from "../page/sessions.ts";
import { everything, type Grant } from "../scopes.ts";
import { createTokenBook, type TokenBook } from "../token-files.ts";
import { grantOf } from "../tokens.ts";

export interface LocalAuthOptions {
  readonly dataDir: string;
  /** PAGEFERRY_TOKEN; it wins. */
  readonly given: string | undefined;
  /** The configuration's. */
  readonly configured: string | undefined;
  readonly alarms: Alarms;
  readonly now: () => number;
  /** Told once a minute where too many wrong tokens come from. */
  readonly onMany: (address: string) => void;
}

export interface LocalAuth {
  /** The host's own. */
  readonly token: string;
  /** Where it was written, if it was made now. */
  readonly madeTokenFile: string | undefined;
  readonly authenticate: Authenticate;
  /** Of people at the page. */
  readonly sessions: Sessions;
}

const clock = (): number => performance.now();

/** Reads what there is. Errors: `bad-config` for a token that is none. */
export async function openLocalAuth(options: LocalAuthOptions): Promise<LocalAuth> {
  const { dataDir, alarms, now, onMany } = options;
  const { token, madeTokenFile } = await ownToken(options);
  const book = createTokenBook({
    ...{ dataDir, clock },
    onTroubles: (troubles) => tell(troubles, alarms),
  });
  await book.look();
  const failures = createFailureLimit(clock);
  const sessions = createSessions({ clock, grantOfToken: (id) => grantOfToken(id, book, now()) });
  const authenticate = createAuthenticate({ token, book, failures, onMany, now });
  return { token, madeTokenFile, authenticate, sessions };
}

/** What a token may do now. The host's own is the same for as long as it runs. */
async function grantOfToken(id: string, book: TokenBook, nowMs: number): Promise<Grant | undefined> {
  if (id === everything.id) return everything;
  const record = await book.find(id);
  const isOver = record?.expiresAtMs !== undefined && nowMs >= record.expiresAtMs;
  return record === undefined || isOver ? undefined : grantOf(record);
}

async function ownToken({ dataDir, given, configured }: LocalAuthOptions) {
  if (given !== undefined && given !== "")
    return { token: checkToken(given, "PAGEFERRY_TOKEN"), madeTokenFile: undefined };
  if (configured !== undefined)
    return { token: checkToken(configured, "the configuration"), madeTokenFile: undefined };
  const path = join(dataDir, "token");
  const { token, isNew } = await tokenFromFile(path);
  return { token, madeTokenFile: isNew ? path : undefined };
}

function tell(troubles: readonly string[], alarms: Alarms): void {
  const [first, ...others] = troubles;
  if (first === undefined) {
    alarms.clear({ code: "tokens" });
    return;
  }
  const more = others.length === 0 ? "" : `, and ${others.length} more`;
  alarms.raise({
    code: "tokens",
    message: `${first}${more}`,
    hint: "What was read before still counts. Mend the file, or `pageferry token revoke` it.",
  });
}
