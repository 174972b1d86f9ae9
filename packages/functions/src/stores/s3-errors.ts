// What an S3 server, its SDK or the network says, as our codes. Nothing above this file knows an S3 error's name.

import { type ErrorCode, isPageferryError, PageferryError } from "@pageferry/format";

/** The parts of an SDK's error that we look at. Servers differ in all of them. */
interface Answer {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
}

interface Meaning {
  readonly code: ErrorCode;
  readonly hint?: string;
}

const clock: Meaning = {
  code: "unavailable",
  hint: "The clocks of this host and of the server differ by more than 15 minutes; set this one by NTP.",
};
const region: Meaning = {
  code: "bad-config",
  hint: "Set `region` to the bucket's own; see docs/replicas.md for what each provider calls it.",
};
const authority: Meaning = {
  code: "unauthorized",
  hint: "The server's certificate is not trusted. Name its authority's file in `rootCAs`, or correct the endpoint's host name.",
};
const full: Meaning = {
  code: "disk-full",
  hint: "Raise the bucket's quota or free space on the server; work goes on by itself when there is room.",
};
const refused: Meaning = {
  code: "unauthorized",
  hint: "See the keys, and the permissions that docs/replicas.md lists for s3.",
};

const meaningByName: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { code: "not-found" },
  NotFound: { code: "not-found" },
  EntityTooLarge: { code: "too-large" },
  KeyTooLongError: { code: "bad-name" },
  InvalidBucketName: { code: "bad-config", hint: "Correct `bucket`." },
  InvalidObjectState: {
    code: "unavailable",
    hint: "A lifecycle rule has moved the object to an archive class; bring it back first.",
  },
  PermanentRedirect: region,
  AuthorizationHeaderMalformed: region,
  IncorrectEndpoint: region,
  RequestTimeTooSkewed: clock,
  RequestExpired: clock,
  QuotaExceeded: full,
  StorageFull: full,
  XMinioStorageFull: full,
  XMinioAdminBucketQuotaExceeded: full,
  InvalidAccessKeyId: refused,
  SignatureDoesNotMatch: refused,
  XAdminUserNotFound: refused,
  ExpiredToken: refused,
  InvalidToken: refused,
  CredentialsProviderError: {
    code: "unauthorized",
    hint: "Set `accessKey` and `secretKey`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them.",
  },
};

/** Node's words for a certificate that it does not trust. */
const untrustedPattern =
  /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|CERT_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

/** Some servers have no code of their own for a full disk or a cap. */
const fullPattern = /quota|cap exceeded|no space left|storage (is )?full|insufficient storage/i;

/** The HTTP status of a server's answer; `undefined` where there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as Answer).$metadata?.httpStatusCode;
}

/** A server's word for what was wrong. */
export function nameOf(error: unknown): string {
  const { name, code } = error as Answer;
  return typeof name === "string" && name !== "Error" ? name : typeof code === "string" ? code : "";
}

/** The connection broke while it was in use: what was asked may have been done. */
export function wasCut(error: unknown): boolean {
  const { code } = (isPageferryError(error) ? error.cause : error) as Answer;
  return statusOf(error) === undefined && ["ECONNRESET", "EPIPE", "ECONNABORTED"].includes(String(code));
}

/** The SDK has seen that our clock is wrong, and will sign the next request by the server's. */
export function isClockCorrected(error: unknown): boolean {
  return (error as Answer).$metadata?.clockSkewCorrected === true;
}

/** What a server says, without the names in it: a bucket may be called `db-retention`, and a key hold any word. */
function plainWords(error: Answer, bucket: string): string {
  const isBucket = (word: string) => bucket !== "" && `${word}.`.startsWith(`${bucket}.`);
  const message = String(error.message)
    .replace(/arn:\S+|\S*(\/|%2F)\S*/gi, " ")
    .replace(/[\w.-]+/g, (word) => (isBucket(word) ? " " : word));
  return `${nameOf(error)} ${message}`;
}

/** A delete that a retention period, a legal hold or a bucket's lock forbids. */
export function isLocked(error: unknown, bucket: string): boolean {
  const status = statusOf(error);
  const words = plainWords(error as Answer, bucket);
  return (
    (status === 403 || status === 400 || status === 409) &&
    /object ?lock|retention|WORM|legal ?hold/i.test(words)
  );
}

/** A bucket may come back, or be made: whoever waits for it finds it then. */
export function missingBucket(bucket: string, cause: unknown): PageferryError {
  return new PageferryError("unavailable", `bucket ${bucket} does not exist`, {
    cause,
    hint: `Create it, for example with \`aws s3api create-bucket --bucket ${bucket}\`; what waits goes on by itself then.`,
  });
}

/** Errors of the SDK and of the network as ours; any other is given back as it is. */
export function fromS3(error: unknown, where: string, bucket: string): unknown {
  if (isPageferryError(error) || typeof error !== "object" || error === null) return error;
  const name = nameOf(error);
  if (name === "NoSuchBucket") return missingBucket(bucket, error);
  const meaning = meaningOf(error as Answer, name, bucket);
  if (meaning === undefined) return error;
  const { code, hint } = meaning;
  return new PageferryError(code, `${where}: ${wordsOf(error as Answer, name, code)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

function meaningOf(error: Answer, name: string, bucket: string): Meaning | undefined {
  const { code, message } = error;
  if (typeof code === "string" && untrustedPattern.test(code)) return authority;
  const known = Object.hasOwn(meaningByName, name) ? meaningByName[name] : undefined;
  const status = statusOf(error);
  if (status === undefined) {
    if (known !== undefined) return known;
    if (String(message).startsWith("Region is missing")) return region;
    const isNetworks = typeof code === "string" || /Timeout|Abort|Network/.test(name) || "$response" in error;
    return isNetworks ? { code: "unavailable" } : undefined;
  }
  if (status === 507 || (status >= 400 && fullPattern.test(plainWords(error, bucket)))) return full;
  if (known !== undefined) return known;
  if (status === 401 || status === 403) return refused;
  if (status === 301 || status === 307) return region;
  return { code: "unavailable" };
}

/** What a server says of credentials may repeat them: there, and where it says nothing, its code alone is shown. */
function wordsOf(error: Answer, name: string, code: ErrorCode): string {
  const status = statusOf(error);
  const word = status === undefined ? name : `${status}${name === "" ? "" : ` ${name}`}`;
  const said = typeof error.message === "string" ? error.message.replace(/\s+/g, " ").slice(0, 200) : "";
  if (code === "unauthorized" && status !== undefined) return `the server answered ${word}`;
  if (status !== undefined)
    return `the server answered ${word}${said === "" || said === name ? "" : `: ${said}`}`;
  return said === "" ? word : said;
}
