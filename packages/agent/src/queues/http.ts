// The host over HTTP (docs/operations.md#http). Statuses become codes here and nowhere else.
import {
  type ErrorCode,
  encodeHeartbeats,
  errorTable,
  formatStateHash,
  formatTxId,
  isPageferryError,
  PageferryError,
  parseHolds,
  parseNeeds,
} from "@pageferry/format";
import { type PointState, type Queue, type QueueCallOptions, type StagedBody, throttled } from "../queue.ts";
import { type Answer, type Exchange, exchange } from "./exchange.ts";
import { StalledError } from "./limit.ts";
import { parsePlace, putInPlace } from "./place.ts";

/** Where the host is and how to speak to it. */
export interface HttpQueueOptions {
  /** `http://` or `https://`, with a path where the host sits below one. Never with a password in it. */
  readonly url: string;
  /** Bearer token with the scopes `ingest` and `needs`. It appears in no error and no log. */
  readonly token?: string;
  /**
   * How long a call may stand still, ms. Default 30 s. As long as its body moves it goes on, and it may stand still for longer by
   * what a line of 2 KiB a second needs for what was taken and not seen to arrive.
   */
  readonly timeoutMs?: number;
  /** The same for staged bodies. Default 60 s. */
  readonly stallMs?: number;
  /**
   * The most that is added to these for what was not seen to arrive, ms. Default 10 min. For a staged body it is doubled with each
   * time that this was too short, up to 4 h: some proxies take a whole body at once, and bring it slowly.
   */
  readonly unseenMs?: number;
  /** Milliseconds since the epoch, for a Retry-After that is a date. */
  readonly now?: () => number;
}

/** An answer that only says what went wrong; more of it would be a page for people. */
const problemBytesMax = 64 * 1024;

/** What `needs` may answer: some hundred generations with as many holes each. */
const needsBytesMax = 4 * 1024 * 1024;

/** What is said of a thousand heartbeats: at most all their names. */
const beatBytesMax = 128 * 1024;

/** What a staged body may at most be waited for without a sign of it. */
const unseenMsMost = 4 * 3_600_000;

/** Characters of a host's own words that go into our message. */
const detailLengthMax = 300;

/** What a host that is at its limit leaves open. */
const defaultRetryAfterMs = 5_000;

interface Call extends Omit<Exchange, "url"> {
  readonly path: string;
  /** Every other status is no answer of a host. */
  readonly expected: readonly number[];
}

/** A queue over HTTP. Throws `bad-config` for a URL or a token it cannot use. */
export function createHttpQueue(options: HttpQueueOptions): Queue {
  const { root, name } = parseRoot(options.url);
  const { token, timeoutMs = 30_000, stallMs = 60_000, unseenMs = 600_000, now = Date.now } = options;
  const call = createCaller({ root, name, token, now });
  const stage = createStaging({ root, name, call, timeoutMs, stallMs, unseenMs });
  return {
    name,
    async send(envelope, { signal }: QueueCallOptions = {}) {
      await call({
        method: "POST",
        path: "/v1/ingest",
        expected: [202],
        headers: { "content-type": "application/cbor" },
        body: envelope,
        signal,
        stallMs: timeoutMs,
        unseenMsMax: unseenMs,
        answerBytesMax: problemBytesMax,
      });
    },
    async beat(envelopes, { signal }: QueueCallOptions = {}) {
      const answer = await call({
        method: "POST",
        path: "/v1/heartbeats",
        expected: [200],
        headers: { "content-type": "application/cbor" },
        body: encodeHeartbeats(envelopes),
        signal,
        stallMs: timeoutMs,
        unseenMsMax: unseenMs,
        answerBytesMax: beatBytesMax,
      }).catch((error: unknown) => {
        if (!isPageferryError(error, "not-found")) throw error;
      });
      return answer === undefined ? undefined : refusedOf(answer, `${name}: POST /v1/heartbeats`);
    },
    stage: (database, body, { signal }: QueueCallOptions = {}) => stage(database, body, signal),
    async needs(database: string, { signal }: QueueCallOptions = {}) {
      const answer = await call({
        method: "GET",
        path: `/v1/databases/${encodeURIComponent(database)}/needs`,
        expected: [200],
        headers: {},
        signal,
        stallMs: timeoutMs,
        unseenMsMax: unseenMs,
        answerBytesMax: needsBytesMax,
      });
      return documentOf(parseNeeds, answer, `${name}: needs of ${database}`);
    },
    async holds(database: string, point: PointState, { signal }: QueueCallOptions = {}) {
      const { generation, txId, stateHash } = point;
      const query = `generation=${generation}&txid=${formatTxId(txId)}&stateHash=${formatStateHash(stateHash)}`;
      const path = `/v1/databases/${encodeURIComponent(database)}/holds?${query}`;
      const limits = { stallMs: timeoutMs, unseenMsMax: unseenMs, answerBytesMax: problemBytesMax };
      try {
        const answer = await call({ method: "GET", path, expected: [200], headers: {}, signal, ...limits });
        return documentOf(parseHolds, answer, `${name}: whether it holds a point of ${database}`);
      } catch (error) {
        // A host that does not know the question.
        if (isPageferryError(error, "not-found")) return false;
        throw error;
      }
    },
  };
}

interface CallerOptions {
  readonly root: string;
  readonly name: string;
  readonly token: string | undefined;
  readonly now: () => number;
}

/** Resolves with the answer's body; everything that is no answer of a host is an error. */
type Caller = (call: Call) => Promise<Uint8Array>;

function createCaller({ root, name, token, now }: CallerOptions): Caller {
  const authorization = authorizationOf(token);
  return async ({ path, expected, ...request }) => {
    const what = `${name}: ${request.method} ${path}`;
    const headers = { ...authorization, accept: "application/json", ...request.headers };
    let answer: Answer;
    try {
      answer = await exchange({ ...request, url: `${root}${path}`, headers });
    } catch (error) {
      request.signal?.throwIfAborted();
      if (isPageferryError(error)) throw error;
      throw new PageferryError("unavailable", `${what}: ${reasonOf(error)}`, { cause: error });
    }
    const { status, isTooLong } = answer;
    if (status < 200 || status >= 300) throw errorOf(answer, what, { token, nowMs: now() });
    // A page to sign in at says 200 to everything: only what a host says counts as its word.
    if (!expected.includes(status)) {
      const message = `${what}: status ${status}, which no pageferry host answers here; is something in between?`;
      throw new PageferryError("unavailable", message);
    }
    if (isTooLong) {
      const message = `${what}: the answer is longer than ${request.answerBytesMax} bytes`;
      throw new PageferryError("unavailable", message);
    }
    return answer.body;
  };
}

interface StagingOptions {
  readonly root: string;
  readonly name: string;
  readonly call: Caller;
  readonly timeoutMs: number;
  readonly stallMs: number;
  readonly unseenMs: number;
}

type StageCall = (database: string, body: StagedBody, signal: AbortSignal | undefined) => Promise<void>;

function createStaging({ root, name, call, timeoutMs, stallMs, unseenMs }: StagingOptions): StageCall {
  let stagedUnseenMs = unseenMs;
  /** From here on the host was too small, and knew a place. */
  let placedBytesMin = Number.POSITIVE_INFINITY;

  /** Through the host; what is too large for it, where it says. */
  const stageHere: StageCall = async (database, body, signal) => {
    const path = `/v1/stage/${body.digest}?database=${encodeURIComponent(database)}`;
    const headers = { "content-type": "application/octet-stream" };
    const limits = { stallMs, unseenMsMax: stagedUnseenMs, answerBytesMax: problemBytesMax };
    try {
      await call({ method: "PUT", path, expected: [200, 201], headers, body, signal, ...limits });
    } catch (error) {
      if (!isPageferryError(error, "too-large")) throw error;
      await place(database, body, signal, error);
      placedBytesMin = Math.min(placedBytesMin, body.size);
    }
  };

  /** By a place that the host gives. Where it gives none, what it `refused` stands. */
  const place = async (...[database, body, signal, refused]: [...Parameters<StageCall>, PageferryError?]) => {
    const path = `/v1/stage/${body.digest}/place?database=${encodeURIComponent(database)}&size=${body.size}`;
    const limits = { signal, stallMs: timeoutMs, unseenMsMax: unseenMs, answerBytesMax: problemBytesMax };
    const asked = call({ method: "GET", path, expected: [200], headers: {}, ...limits });
    const answer = await asked.catch((error: unknown) => {
      // A host that knows no places; one that does not answer now is asked again.
      if (isPageferryError(error) && error.remedy !== "retry") throw refused ?? error;
      throw error;
    });
    const found = parsePlace(answer, root);
    if (found === undefined)
      throw refused ?? new PageferryError("unavailable", `${name}: GET ${path}: the answer is no place`);
    const what = `${name}: the place of staged body ${body.digest}`;
    await putInPlace(found, body, { what, signal, stallMs, unseenMsMax: stagedUnseenMs });
  };

  return async (database, body, signal) => {
    try {
      await (body.size >= placedBytesMin ? place : stageHere)(database, body, signal);
      stagedUnseenMs = unseenMs;
    } catch (error) {
      const isStalled = isPageferryError(error) && error.cause instanceof StalledError;
      // The same again would end in the same way, for ever.
      if (isStalled) stagedUnseenMs = Math.min(stagedUnseenMs * 2, Math.max(unseenMs, unseenMsMost));
      throw error;
    }
  };
}

function authorizationOf(token: string | undefined): Record<string, string> {
  if (token === undefined) return {};
  if (/[^\x21-\x7e]/.test(token)) {
    throw new PageferryError(
      "bad-config",
      "queue token: it holds what a header cannot, such as a line break",
    );
  }
  return { authorization: `Bearer ${token}` };
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

function reasonOf(error: unknown): string {
  if (error instanceof StalledError) return `no answer in time, ${error.message}`;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === "string" ? code : "the connection failed";
}

interface ErrorContext {
  readonly token: string | undefined;
  readonly nowMs: number;
}

function errorOf(answer: Answer, what: string, context: ErrorContext): PageferryError {
  const { status, headers } = answer;
  const problem = parseProblem(answer.body);
  const words = shown(problem.detail ?? problem.title, context.token);
  const message = `${what}: status ${status}${words === "" ? "" : `, ${words}`}`;
  if (status >= 300 && status < 400) return redirected(message, headers.location, context);
  // 408 is a slow line, which passes. What a host says of itself in 5xx does, too.
  if (status === 408 || status === 429 || status >= 500 || status < 300) {
    const code = problem.code === "disk-full" ? "disk-full" : "unavailable";
    const mayAsk = status === 429 || status === 503 || status === 507;
    const askedMs = mayAsk ? retryAfterMs(headers["retry-after"], context.nowMs) : undefined;
    return askedMs === undefined ? new PageferryError(code, message) : throttled(message, askedMs, code);
  }
  const hint = shown(problem.hint, context.token);
  return new PageferryError(codeOf(status, problem.code), message, hint === "" ? {} : { hint });
}

/** Not followed: the token and the database would go wherever the answer says. */
function redirected(message: string, location: string | undefined, { token }: ErrorContext): PageferryError {
  const target = location === undefined ? null : URL.parse(location);
  // Without query and password: those may hold what is nobody's business.
  const place = target === null ? location?.replace(/[?#].*$/s, "") : `${target.origin}${target.pathname}`;
  const where = place === undefined ? "does not say where to" : `points to ${shown(place, token)}`;
  return new PageferryError("bad-config", `${message}: it ${where}, and is not followed`, {
    hint: "If that is your host, set the queue's url to it; if it is a page to sign in at, sign in.",
  });
}

const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  401: "unauthorized",
  403: "forbidden",
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

function retryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) {
    return defaultRetryAfterMs;
  }
  if (/^\d{1,9}$/.test(header.trim())) {
    return Number(header) * 1000;
  }
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? defaultRetryAfterMs : Math.max(0, dateMs - nowMs);
}

/** A proxy's page instead of the document passes; a later version does not. */
function documentOf<Document>(
  parse: (bytes: Uint8Array) => Document,
  answer: Uint8Array,
  what: string,
): Document {
  try {
    return parse(answer);
  } catch (cause) {
    if (!isPageferryError(cause, "corrupt")) {
      throw cause;
    }
    throw new PageferryError("unavailable", `${what}: ${cause.message}`, { cause });
  }
}

/** A proxy's page instead of the answer passes. */
function refusedOf(answer: Uint8Array, what: string): readonly string[] {
  try {
    const { refused } = JSON.parse(Buffer.from(answer).toString("utf8")) as { readonly refused?: unknown };
    if (Array.isArray(refused)) return refused.filter((name) => typeof name === "string");
  } catch (cause) {
    throw new PageferryError("unavailable", `${what}: the answer is no JSON`, { cause });
  }
  throw new PageferryError("unavailable", `${what}: the answer says nothing of what was refused`);
}
