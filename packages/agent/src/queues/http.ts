// The host over HTTP (docs/operations.md#http). Statuses become codes here and nowhere else.
import {
  type ErrorCode,
  errorTable,
  isPageferryError,
  type Needs,
  PageferryError,
  parseNeeds,
} from "@pageferry/format";
import { type Queue, type QueueCallOptions, type StagedBody, throttled } from "../queue.ts";

/** Where the host is and how to speak to it. */
export interface HttpQueueOptions {
  /** `http://` or `https://`, with a path where the host sits below one. Never with a password in it. */
  readonly url: string;
  /** Bearer token with the scopes `ingest` and `needs`. It appears in no error and no log. */
  readonly token?: string;
  /** How long one call may take. Default 30 s. Staging is bounded by `stallMs` instead. */
  readonly timeoutMs?: number;
  /** How long a staged body may stand still, and how long its answer may take. Default 60 s. */
  readonly stallMs?: number;
  /** Milliseconds since the epoch, for a Retry-After that is a date. */
  readonly now?: () => number;
}

/** An answer that only says what went wrong; more of it would be a page for people. */
const problemBytesMax = 64 * 1024;

/** What `needs` may answer: some hundred generations with as many holes each. */
const needsBytesMax = 4 * 1024 * 1024;

/** Characters of a host's own words that go into our message. */
const detailLengthMax = 300;

/** What a host that is at its limit leaves open. */
const defaultRetryAfterMs = 5_000;

interface Call {
  readonly method: "POST" | "PUT" | "GET";
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array | ReadableStream<Uint8Array>;
  readonly signal: AbortSignal | undefined;
  readonly timeout: AbortSignal;
  readonly answerBytesMax: number;
}

/** A queue over HTTP. Throws `bad-config` for a URL it cannot use. */
export function createHttpQueue(options: HttpQueueOptions): Queue {
  const { root, name } = parseRoot(options.url);
  const { token, timeoutMs = 30_000, stallMs = 60_000, now = Date.now } = options;
  const authorization: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token}` };

  async function call(request: Call): Promise<Uint8Array> {
    const what = `${name}: ${request.method} ${request.path}`;
    let response: Response;
    let answer: Uint8Array;
    try {
      response = await fetch(`${root}${request.path}`, {
        method: request.method,
        headers: { ...authorization, accept: "application/json", ...request.headers },
        signal: either(request.signal, request.timeout),
        redirect: "manual",
        ...(request.body === undefined ? {} : { body: request.body, duplex: "half" }),
      } as RequestInit);
      answer = await readBounded(response, request.answerBytesMax, what);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (isPageferryError(error)) {
        throw error;
      }
      throw new PageferryError("unavailable", `${what}: ${reasonOf(error, request.timeout)}`, {
        cause: error,
      });
    }
    if (!response.ok) {
      throw errorOf(response, answer, what, { token, nowMs: now() });
    }
    return answer;
  }

  return {
    name,
    async send(envelope, { signal }: QueueCallOptions = {}) {
      using deadline = startDeadline(timeoutMs);
      await call({
        method: "POST",
        path: "/v1/ingest",
        headers: { "content-type": "application/cbor" },
        body: envelope,
        signal,
        timeout: deadline.signal,
        answerBytesMax: problemBytesMax,
      });
    },
    async stage(database: string, body: StagedBody, { signal }: QueueCallOptions = {}) {
      using deadline = startDeadline(stallMs);
      await call({
        method: "PUT",
        path: `/v1/stage/${body.digest}?database=${encodeURIComponent(database)}`,
        headers: { "content-type": "application/octet-stream", "content-length": String(body.size) },
        body: ReadableStream.from(deadline.of(body.open())),
        signal,
        timeout: deadline.signal,
        answerBytesMax: problemBytesMax,
      });
    },
    async needs(database: string, { signal }: QueueCallOptions = {}) {
      using deadline = startDeadline(timeoutMs);
      const answer = await call({
        method: "GET",
        path: `/v1/databases/${encodeURIComponent(database)}/needs`,
        headers: {},
        signal,
        timeout: deadline.signal,
        answerBytesMax: needsBytesMax,
      });
      return needsOf(answer, `${name}: needs of ${database}`);
    },
  };
}

function parseRoot(text: string): { readonly root: string; readonly name: string } {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new PageferryError("bad-config", "queue url: an http:// or https:// URL is expected");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new PageferryError("bad-config", `queue url of ${url.host}: it holds more than a host and a path`, {
      hint: "Give the token as `token` or PAGEFERRY_TOKEN, not in the URL.",
    });
  }
  const root = `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  return { root, name: root };
}

function either(signal: AbortSignal | undefined, timeout: AbortSignal): AbortSignal {
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}

async function readBounded(response: Response, bytesMax: number, what: string): Promise<Uint8Array> {
  if (response.body === null) {
    return new Uint8Array();
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    size += chunk.length;
    if (size > bytesMax) {
      if (!response.ok) {
        break;
      }
      throw new PageferryError("unavailable", `${what}: the answer is longer than ${bytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function reasonOf(error: unknown, timeout: AbortSignal): string {
  if (timeout.aborted) {
    return "no answer in time";
  }
  const cause = error instanceof Error ? error.cause : undefined;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === "string" ? code : "the connection failed";
}

interface ErrorContext {
  readonly token: string | undefined;
  readonly nowMs: number;
}

function errorOf(
  response: Response,
  answer: Uint8Array,
  what: string,
  context: ErrorContext,
): PageferryError {
  const problem = parseProblem(answer);
  const words = shown(problem.detail ?? problem.title, context.token);
  const message = `${what}: status ${response.status}${words === "" ? "" : `, ${words}`}`;
  const { status } = response;
  // 408 is a slow line, 3xx a sign-in page or a proxy in the way: both pass. What a host says of itself in 5xx does, too.
  if (status === 408 || status === 429 || status >= 500 || status < 400) {
    const code = problem.code === "disk-full" ? "disk-full" : "unavailable";
    const mayAsk = status === 429 || status === 503 || status === 507;
    const askedMs = mayAsk ? retryAfterMs(response.headers.get("retry-after"), context.nowMs) : undefined;
    return askedMs === undefined ? new PageferryError(code, message) : throttled(message, askedMs, code);
  }
  const hint = shown(problem.hint, context.token);
  return new PageferryError(codeOf(status, problem.code), message, hint === "" ? {} : { hint });
}

const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  401: "unauthorized",
  403: "unauthorized",
  404: "not-found",
  409: "conflict",
  413: "too-large",
  422: "corrupt",
};

function codeOf(status: number, told: string | undefined): ErrorCode {
  const isKnown = told !== undefined && Object.hasOwn(errorTable, told);
  if (isKnown && errorTable[told as ErrorCode].remedy !== "retry") {
    return told as ErrorCode;
  }
  return codeOfStatus[status] ?? "bad-request";
}

interface Problem {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly hint?: string;
}

function parseProblem(answer: Uint8Array): Problem {
  try {
    const value: unknown = JSON.parse(Buffer.from(answer).toString("utf8"));
    if (typeof value !== "object" || value === null) {
      return {};
    }
    return Object.fromEntries(Object.entries(value).filter(([, field]) => typeof field === "string"));
  } catch {
    return {};
  }
}

/** A host's words on one line, without control characters, and without the token that it may have echoed. */
function shown(text: string | undefined, token: string | undefined): string {
  const plain = (text ?? "").replace(/[\p{Cc}\p{Cf}]+/gu, " ").trim();
  const redacted = token === undefined || token === "" ? plain : plain.replaceAll(token, "[token]");
  return redacted.slice(0, detailLengthMax);
}

function retryAfterMs(header: string | null, nowMs: number): number {
  if (header === null) {
    return defaultRetryAfterMs;
  }
  if (/^\d{1,9}$/.test(header.trim())) {
    return Number(header) * 1000;
  }
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? defaultRetryAfterMs : Math.max(0, dateMs - nowMs);
}

/** A proxy's page instead of the document passes; a later version does not. */
function needsOf(answer: Uint8Array, what: string): Needs {
  try {
    return parseNeeds(answer);
  } catch (cause) {
    if (!isPageferryError(cause, "corrupt")) {
      throw cause;
    }
    throw new PageferryError("unavailable", `${what}: ${cause.message}`, { cause });
  }
}

/** A time limit. Unlike `AbortSignal.timeout` it costs nothing any more when the call was in time. */
interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** Begins anew with each chunk taken: hours are fine for a large body, a minute without a byte is not. */
  of(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
}

function startDeadline(ms: number): Deadline {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ms);
  return {
    signal: controller.signal,
    async *of(chunks) {
      for await (const chunk of chunks) {
        timer.refresh();
        yield chunk;
      }
      timer.refresh();
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
    },
  };
}
