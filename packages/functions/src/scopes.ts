// What a token may do, and with which databases. No scope implies another one: who may add may not read, who may read may not alter.

import { type DatabaseName, PageferryError } from "@pageferry/format";

/** In the order in which they are printed. docs/operations.md#tokens says which call needs which. */
export const scopes = ["ingest", "needs", "read", "restore", "inspect", "operate"] as const;

export type Scope = (typeof scopes)[number];

/** Words for what is often given together. */
const scopeWords: Readonly<Record<string, readonly Scope[]>> = {
  agent: ["ingest", "needs"],
  admin: scopes,
};

/** Reads "restore,read" or "agent". Errors: `bad-request`. */
export function parseScopes(text: string): readonly Scope[] {
  const found = text.split(",").flatMap((word) => {
    const known = Object.hasOwn(scopeWords, word)
      ? scopeWords[word]
      : scopes.filter((scope) => scope === word);
    if (known === undefined || known.length === 0) {
      const words = [...Object.keys(scopeWords), ...scopes].join(", ");
      throw new PageferryError(
        "bad-request",
        `scope ${JSON.stringify(word.slice(0, 40))} is none of ${words}`,
      );
    }
    return known;
  });
  return scopes.filter((scope) => found.includes(scope));
}

/** What the bearer of a token may do. */
export interface Grant {
  /** Names the token, and tells nothing of its secret. */
  readonly id: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly databases: "*" | ReadonlySet<string>;
}

/** What the one token of the host itself grants. */
export const everything: Grant = { id: "host", scopes: new Set(scopes), databases: "*" };

/** Whether a grant is for a database, whether there is one of that name or not. */
export function covers({ databases }: Grant, database: string): boolean {
  return databases === "*" || databases.has(database);
}

/** Throws `forbidden` unless the grant is for the database; the answer is the same whether the database exists or not. */
export function requireDatabase(grant: Grant, database: DatabaseName | string): void {
  if (covers(grant, database)) return;
  throw new PageferryError(
    "forbidden",
    `this token is not for database ${JSON.stringify(database.slice(0, 64))}`,
  );
}
