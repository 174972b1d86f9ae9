// Who is signed in at the page: ids in memory, each for what its token may do at the moment. The token itself is nowhere; one that is
// revoked ends its sessions.

import { createHash, randomBytes } from "node:crypto";
import type { Grant } from "../scopes.ts";

/** A working day: a page that was left open does not stay open. */
export const sessionLifeMs = 12 * 60 * 60_000;

/** Some hundred bytes each; above it the one that began longest ago is over. */
const sessionsMax = 1000;

/** Of one token, so that nobody ends the sessions of others. */
const sessionsPerTokenMax = 50;

/** A link that `up` prints is used at once, or not. */
const codeLifeMs = 10 * 60_000;

const codesMax = 20;

export interface SessionsOptions {
  /** What the token of an id may do now; `undefined`: it was revoked, or has expired. */
  readonly grantOfToken: (id: string) => Promise<Grant | undefined>;
  /** Monotonic, ms. */
  readonly clock: () => number;
}

export interface Sessions {
  /** Begins a session of somebody whose token was checked. Gives its id, which is a secret. */
  begin(grant: Grant): string;
  /** What it may do now; `undefined`: there is none, it is over, or its token is. */
  find(id: string): Promise<Grant | undefined>;
  end(id: string): void;
  /** A code that begins one session with what `grant` may do. */
  makeCode(grant: Grant): string;
  /** Takes a code, once. */
  redeem(code: string): Promise<Grant | undefined>;
}

interface Kept {
  readonly token: string;
  readonly endsAtMs: number;
}

export function createSessions({ grantOfToken, clock }: SessionsOptions): Sessions {
  const sessions = new Map<string, Kept>();
  const codes = new Map<string, Kept>();
  return {
    begin({ id: token }) {
      const own = [...sessions].filter(([, kept]) => kept.token === token);
      if (own.length >= sessionsPerTokenMax) sessions.delete(own[0]?.[0] ?? "");
      return keep(sessions, { token, endsAtMs: clock() + sessionLifeMs }, sessionsMax);
    },
    async find(id) {
      const key = keyOf(id);
      const kept = sessions.get(key);
      const grant =
        kept === undefined || clock() >= kept.endsAtMs ? undefined : await grantOfToken(kept.token);
      if (grant === undefined) sessions.delete(key);
      return grant;
    },
    end: (id) => void sessions.delete(keyOf(id)),
    makeCode: ({ id: token }) => keep(codes, { token, endsAtMs: clock() + codeLifeMs }, codesMax),
    async redeem(code) {
      const key = keyOf(code);
      const kept = codes.get(key);
      codes.delete(key);
      return kept === undefined || clock() >= kept.endsAtMs ? undefined : grantOfToken(kept.token);
    },
  };
}

function keep(all: Map<string, Kept>, kept: Kept, max: number): string {
  const id = randomBytes(32).toString("base64url");
  all.set(keyOf(id), kept);
  for (const oldest of all.keys()) {
    if (all.size <= max) break;
    all.delete(oldest);
  }
  return id;
}

/** What is compared, and kept, is a hash: how long it takes tells nothing of an id. */
function keyOf(id: string): string {
  return createHash("sha256").update(id).digest("hex");
}
