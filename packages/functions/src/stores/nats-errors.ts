// What NATS and JetStream say, as errors of ours. Nothing above the driver knows their codes.

import { PageferryError } from "@pageferry/format";

/** The error in a JetStream answer. */
export interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

/** JetStream's numbers that decide something here; the rest is told by its HTTP-like code. */
export const apiErrors = {
  noMessage: 10_037,
  noStream: 10_059,
  sealed: 10_109,
  storeFailed: 10_077,
  /** Another message came under this subject since; newer servers have a second number for it. */
  wrongLastSequence: [10_071, 10_164] as readonly number[],
  /** Account, server and file store limits. */
  noRoom: [10_002, 10_023, 10_028, 10_047] as readonly number[],
  /** JetStream is switched off, or not up yet. */
  disabled: [10_039, 10_076] as readonly number[],
} as const;

const refusals: readonly string[] = [
  "AUTHORIZATION_VIOLATION",
  "AUTHENTICATION_EXPIRED",
  "ACCOUNT_EXPIRED",
  "BAD_AUTHENTICATION",
  "PERMISSIONS_VIOLATION",
];

/** Node's words for a certificate that it does not trust. */
const certificateErrno = /CERT|SIGNATURE|^ERR_TLS|^ERR_SSL|^EPROTO$|^TLS$/;

/**
 * Translates what the client library or a socket throws. What is neither of them, such as the reason of a signal or an
 * error of the body's own, is given back as it is.
 */
export function fromNats(error: unknown, where: string): unknown {
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown };
  if (error instanceof PageferryError || typeof code !== "string") return error;
  if (name !== "NatsError" && !("syscall" in (error as object)) && !certificateErrno.test(code)) return error;
  const words = (error as Error).message;
  if (refusals.includes(code)) {
    return new PageferryError("unauthorized", `${where}: ${words.replaceAll("'", "")}`, {
      cause: error,
      hint: "Look at user, password, nkey or creds, and at the permissions that docs/replicas.md lists.",
    });
  }
  if (code === "SERVER_OPT_NA") {
    return new PageferryError("unauthorized", `${where}: the server offers no TLS`, {
      cause: error,
      hint: "rootCAs and tls:// ask for TLS: switch it on at the server, or leave both out.",
    });
  }
  if (certificateErrno.test(code)) {
    return new PageferryError("unauthorized", `${where}: the server's certificate is not trusted (${code})`, {
      cause: error,
      hint: "Name the file of the authority that signed it in rootCAs, and the host that it was made out to in url.",
    });
  }
  return new PageferryError("unavailable", `${where}: ${told(code, words)}`, { cause: error });
}

function told(code: string, words: string): string {
  switch (code) {
    case "TIMEOUT":
      return "no answer in time, or the connection was lost";
    case "503":
      return "nobody answers there: JetStream is not up, or is not enabled for this account";
    default:
      return words === "" || words === code ? code : `${code}: ${words}`;
  }
}

/** Translates an answer's error. `bucket` is what a missing one's hint names. */
export function fromApi(error: ApiError, where: string, bucket: string): PageferryError {
  const { code, err_code: number = 0, description = "" } = error;
  const said = `${where}: ${description || `JetStream error ${number || code}`}`;
  if (number === apiErrors.noStream) {
    return new PageferryError("unavailable", `${where}: there is no bucket ${bucket}`, {
      hint: `Make it: "nats object add ${bucket}", or createBucket: true. What was in it is filled in from the other replicas.`,
    });
  }
  if (apiErrors.noRoom.includes(number) || (number === apiErrors.storeFailed && isFull(description))) {
    return new PageferryError("disk-full", said, {
      hint: "Raise the bucket's max bytes, the account's limit or the server's max_file; work goes on by itself.",
    });
  }
  if (number === apiErrors.sealed || code === 401 || code === 403)
    return new PageferryError("unauthorized", said);
  if (apiErrors.disabled.includes(number)) {
    return new PageferryError("unavailable", said, {
      hint: "Enable JetStream, on the server and for the account.",
    });
  }
  return new PageferryError("unavailable", said);
}

function isFull(description: string): boolean {
  return /exceed|no space|insufficient|quota/i.test(description);
}
