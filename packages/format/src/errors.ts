// The one error class, its table of codes, and what a caller can do about each. docs/errors.md is written from this table.

/** What a caller can do about an error. There are three moves, and no fourth. */
export type Remedy = "retry" | "rotate" | "stop";

interface ErrorKind {
  readonly remedy: Remedy;
  /** The HTTP status an API answers with; absent where the error never leaves a host. */
  readonly status?: number;
  /** The exit code of the command line. */
  readonly exitCode: number;
  readonly when: string;
  readonly hint: string;
}

/** Every code that pageferry gives, with its remedy and what to do next. */
export const errorTable = {
  "bad-config": {
    remedy: "stop",
    exitCode: 2,
    when: "An option, variable or configuration key does not parse.",
    hint: "Correct the named key and start again.",
  },
  "bad-name": {
    remedy: "stop",
    status: 400,
    exitCode: 2,
    when: "A text is not an object, generation or database name.",
    hint: "Names hold letters, digits, dots, dashes and underscores; see docs/format.md.",
  },
  "bad-request": {
    remedy: "stop",
    status: 400,
    exitCode: 2,
    when: "A parameter of a request or command does not parse, or an observer was told what no transaction is.",
    hint: "Correct the named parameter; --help shows examples.",
  },
  "wrong-method": {
    remedy: "stop",
    status: 405,
    exitCode: 2,
    when: "The API knows the path, and not the method.",
    hint: "Use one of the methods in Allow.",
  },
  "unsupported-media": {
    remedy: "stop",
    status: 415,
    exitCode: 2,
    when: "A body came in a type or an encoding that is not taken.",
    hint: "Send it as the reference at /docs/api says, uncompressed.",
  },
  corrupt: {
    remedy: "stop",
    status: 502,
    exitCode: 4,
    when: "A checksum, CBOR, zstd, page or state hash does not hold.",
    hint: "Restore from another replica or point; `pageferry check` names what is wrong.",
  },
  "unsupported-version": {
    remedy: "stop",
    status: 502,
    exitCode: 4,
    when: "An object was written by a newer program.",
    hint: "Upgrade pageferry.",
  },
  "too-large": {
    remedy: "stop",
    status: 413,
    exitCode: 4,
    when: "A length is over its bound in limits.ts.",
    hint: "Nothing was stored. The bound and the value are in the message.",
  },
  conflict: {
    remedy: "stop",
    status: 409,
    exitCode: 5,
    when: "The same name holds other bytes.",
    hint: "The stored object was kept. Look for two writers of one database.",
  },
  fork: {
    remedy: "stop",
    status: 409,
    exitCode: 5,
    when: "Two histories claim the same transaction of one generation.",
    hint: "Stop one of the two agents; both histories are kept, choose with --generation.",
  },
  "not-found": {
    remedy: "stop",
    status: 404,
    exitCode: 3,
    when: "No such object, generation, point or database.",
    hint: "List what can be restored with `pageferry points`.",
  },
  unauthorized: {
    remedy: "stop",
    status: 401,
    exitCode: 6,
    when: "A credential was missing or refused.",
    hint: "Set PAGEFERRY_TOKEN to a token of the named host.",
  },
  forbidden: {
    remedy: "stop",
    status: 403,
    exitCode: 6,
    when: "The token is right, and is not for this call or this database.",
    hint: "Use a token with the named scope and database; `pageferry token create` makes one at the host.",
  },
  unacknowledged: {
    remedy: "stop",
    status: 428,
    exitCode: 12,
    when: "An old file of this application does harm in its place, and nobody said that they know.",
    hint: "See docs/operations.md#applications; say so with `--acknowledge` and the words that are asked for.",
  },
  untrusted: {
    remedy: "stop",
    exitCode: 6,
    when: "A manifest is unsigned, was altered, has expired, or is another host's or another database's.",
    hint: "Nothing was fetched. Ask the host itself again, and compare the key with its `manifest-key.pub`.",
  },
  gap: {
    remedy: "rotate",
    status: 409,
    exitCode: 7,
    when: "A transaction between two others is missing.",
    hint: "Choose a point before the gap, or another replica; `pageferry points` shows both.",
  },
  "disk-full": {
    remedy: "retry",
    status: 507,
    exitCode: 8,
    when: "There is no room to write.",
    hint: "Free space on the named file system; work goes on by itself when there is room.",
  },
  unavailable: {
    remedy: "retry",
    status: 503,
    exitCode: 9,
    when: "A timeout, a throttle, or a lost connection.",
    hint: "It is tried again; if this lasts, see whether the named service runs.",
  },
  "too-many": {
    remedy: "retry",
    status: 429,
    exitCode: 9,
    when: "Too many calls of this kind are under way, or too many wrong tokens came.",
    hint: "Try again a little later.",
  },
  timeout: {
    remedy: "retry",
    status: 504,
    exitCode: 11,
    when: "What was waited for did not come in the time that was given.",
    hint: "Wait again, or longer; `pageferry status` shows what holds it up.",
  },
  "not-bolt": {
    remedy: "stop",
    exitCode: 4,
    when: "A file is not a bolt database.",
    hint: "Name the database file itself; bolt files begin with a meta page.",
  },
  unreadable: {
    remedy: "retry",
    exitCode: 6,
    when: "The database file cannot be opened or read.",
    hint: "Run as the application's user, or with CAP_DAC_READ_SEARCH.",
  },
  exists: {
    remedy: "stop",
    exitCode: 5,
    when: "A target exists and would be overwritten.",
    hint: "Choose another target, or add --force.",
  },
  harmful: {
    remedy: "stop",
    exitCode: 12,
    when: "An old file of this application does harm in its place, and the words that it asks for were not typed.",
    hint: "Nothing was changed. Restore to another path to look inside; docs/operations.md#applications has the application's own way.",
  },
  locked: {
    remedy: "stop",
    exitCode: 5,
    when: "Another process holds the file or the database's agent lock.",
    hint: "Stop that process first. A file in use is never replaced.",
  },
  "source-too-busy": {
    remedy: "retry",
    exitCode: 10,
    when: "A base of the file could not be completed between its commits before the deadline.",
    hint: "See docs/capture.md: a file system with reflinks, a quieter moment, or the in-process observer.",
  },
  "source-unlinked": {
    remedy: "retry",
    exitCode: 10,
    when: "The application still writes a database file that its path no longer names.",
    hint: "Restart the application, so that it opens the file that is there now.",
  },
} as const satisfies Record<string, ErrorKind>;

/** The machine-readable name of an error. */
export type ErrorCode = keyof typeof errorTable;

/** An error with a code, a remedy and something to do. The original is in `cause`. */
export class PageferryError extends Error {
  override readonly name = "PageferryError";
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(
    code: ErrorCode,
    message: string,
    options?: { readonly cause?: unknown; readonly hint?: string },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options?.hint ?? errorTable[code].hint;
  }

  /** What the caller can do about it. */
  get remedy(): Remedy {
    return errorTable[this.code].remedy;
  }
}

/** Tells whether `error` is ours and, if a code is given, whether it has that code. */
export function isPageferryError(error: unknown, code?: ErrorCode): error is PageferryError {
  return error instanceof PageferryError && (code === undefined || error.code === code);
}
