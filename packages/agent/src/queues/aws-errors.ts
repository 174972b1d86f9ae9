// What SQS, S3, their SDK or the network says, as our codes. Credentials, and what a server says of them, are not repeated.
import { type ErrorCode, isPageferryError, PageferryError } from "@pageferry/format";

/** The parts of an SDK's error that we look at. */
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

const passing: Meaning = { code: "unavailable" };
const clock: Meaning = {
  code: "unavailable",
  hint: "The clocks of this host and of AWS differ by more than 15 minutes; set this one by NTP.",
};
const refused: Meaning = {
  code: "unauthorized",
  hint: "The agent's identity needs sqs:SendMessage on the queue, and s3:PutObject below stage/<database>/ of the staging bucket.",
};
const wrongKeys: Meaning = {
  code: "unauthorized",
  hint: "The AWS credentials are wrong or have expired; `aws sts get-caller-identity` shows whose they are.",
};
const authority: Meaning = {
  code: "unauthorized",
  hint: "The server's certificate is not trusted. Name its authority's file in NODE_EXTRA_CA_CERTS, or correct the endpoint.",
};
const place: Meaning = {
  code: "bad-config",
  hint: "Set the region of the queue's and of the staging bucket's URL to their own.",
};

/** First match rules. The words are the last part of a code such as `AWS.SimpleQueueService.NonExistentQueue`. */
const meanings: readonly (readonly [RegExp, Meaning])[] = [
  [
    /^(NonExistentQueue|QueueDoesNotExist)$/,
    {
      code: "unavailable",
      hint: "There is no such queue. Deploy it again, or correct `queue`; what waits goes on by itself then.",
    },
  ],
  [
    /^NoSuchBucket$/,
    {
      code: "unavailable",
      hint: "There is no such bucket. Deploy it again, or correct `queue.staging`; what waits goes on by itself then.",
    },
  ],
  [/^(RequestTimeTooSkewed|RequestExpired)$/, clock],
  [/Throttl|^(SlowDown|OverLimit|TooManyRequests|RequestLimitExceeded|RequestTimeout)/, passing],
  [/^(ConditionalRequestConflict|OperationAborted|NoSuchUpload)$/, passing],
  [
    /^(BadDigest|InvalidDigest|XAmzContentSHA256Mismatch|XAmzContentChecksumMismatch)$/,
    {
      code: "corrupt",
      hint: "The bytes that came are not those that were read here; the body is made again.",
    },
  ],
  [/^(EntityTooLarge|BatchRequestTooLong)$/, { code: "too-large" }],
  [
    /^(PermanentRedirect|AuthorizationHeaderMalformed|IncorrectEndpoint|InvalidAddress|InvalidBucketName)$/,
    place,
  ],
  [
    /^CredentialsProviderError$/,
    {
      code: "unauthorized",
      hint: "No AWS credentials were found: give the machine a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    },
  ],
  [
    /^Kms(Disabled|InvalidState|NotFound|InvalidKeyUsage|OptInRequired)/,
    {
      code: "unauthorized",
      hint: "The key that encrypts the queue cannot be used; see its state and policy in KMS.",
    },
  ],
  [/AccessDenied|^(InvalidSecurity|OptInRequired)/, refused],
  [/^(Invalid(ClientTokenId|AccessKeyId|Signature|Token)|ExpiredToken|SignatureDoesNotMatch)/, wrongKeys],
  [/^(UnrecognizedClient|MissingAuthentication|IncompleteSignature)/, wrongKeys],
];

/** Node's words for a certificate that it does not trust. */
const untrustedPattern =
  /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|CERT_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

/** A signature that is too old or too new is one of a wrong clock, whatever else it is called. */
const clockPattern = /signature (expired|not yet current)/i;

/** Characters of a server's words that go into our message. */
const wordsLengthMax = 200;

/** The HTTP status of a server's answer; `undefined` where there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as Answer | undefined)?.$metadata?.httpStatusCode;
}

/** The connection broke while it was in use: what was asked may have been done, or refused. */
export function wasCut(error: unknown): boolean {
  const { code } = error as Answer;
  return statusOf(error) === undefined && ["ECONNRESET", "EPIPE", "ECONNABORTED"].includes(String(code));
}

/** The SDK has seen that our clock is wrong, and signs the next request by the server's. */
export function isClockCorrected(error: unknown): boolean {
  return (error as Answer | undefined)?.$metadata?.clockSkewCorrected === true;
}

/** A code without what stands before it. */
function lastPart(code: string): string {
  return code.slice(Math.max(code.lastIndexOf("."), code.lastIndexOf("#")) + 1);
}

/** A server's or the SDK's word for what was wrong. */
function nameOf(error: unknown): string {
  const { name, code } = error as Answer;
  if (typeof name === "string" && name !== "Error") return lastPart(name);
  return typeof code === "string" ? code : "";
}

/** Errors of the SDK and of the network as ours; any other is given back as it is. */
export function fromAws(error: unknown, where: string): unknown {
  if (isPageferryError(error) || typeof error !== "object" || error === null) return error;
  const meaning = meaningOf(error);
  if (meaning === undefined) return error;
  const { code, hint } = meaning;
  return new PageferryError(code, `${where}: ${wordsOf(error, code)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** One message's failure within a batch that was taken. */
export function fromFailedEntry(
  failed: { readonly code: string; readonly message: string; readonly isOurFault: boolean },
  where: string,
): PageferryError {
  const word = lastPart(failed.code);
  const { code, hint } = known(word, failed.message) ?? {
    code: failed.isOurFault ? "bad-request" : "unavailable",
  };
  const words = code === "unauthorized" ? "" : `: ${plain(failed.message)}`;
  return new PageferryError(code, `${where}: the queue refused the message with ${word}${words}`, {
    ...(hint === undefined ? {} : { hint }),
  });
}

function known(word: string, message: string): Meaning | undefined {
  if (clockPattern.test(message)) return clock;
  return meanings.find(([pattern]) => pattern.test(word))?.[1];
}

function meaningOf(error: Answer): Meaning | undefined {
  const { code } = error;
  if (typeof code === "string" && untrustedPattern.test(code)) return authority;
  const message = String(error.message);
  const word = known(nameOf(error), message);
  if (word !== undefined) return word;
  const status = statusOf(error);
  if (status === undefined) {
    if (message.startsWith("Region is missing")) return place;
    const isNetworks =
      typeof code === "string" || /Timeout|Abort|Network/.test(nameOf(error)) || "$response" in error;
    return isNetworks ? passing : undefined;
  }
  if (status === 401 || status === 403) return refused;
  if (status === 301 || status === 307) return place;
  // What is no answer of AWS, such as a page to sign in at, says nothing of what was asked.
  const isPassing = status < 400 || status === 408 || status === 429 || status >= 500;
  return isPassing ? passing : { code: "bad-request" };
}

function wordsOf(error: Answer, code: ErrorCode): string {
  const status = statusOf(error);
  const name = nameOf(error);
  const said = plain(error.message);
  if (status === undefined) return said === "" || name === "CredentialsProviderError" ? name : said;
  const word = `the server answered ${status}${name === "" ? "" : ` ${name}`}`;
  return code === "unauthorized" || said === "" || said === name ? word : `${word}: ${said}`;
}

function plain(words: unknown): string {
  if (typeof words !== "string") return "";
  return words
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, " ")
    .trim()
    .slice(0, wordsLengthMax);
}
