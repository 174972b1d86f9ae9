// A host over HTTP, as a reader sees it: bearer token, problem+json turned into our errors, ranges, a few tries for what may pass.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, errorTable, isPageferryError, PageferryError } from "@pageferry/format";
import type { AnswerOf, Route } from "@pageferry/functions/routes";
import { type CallOf, checkAnswer, urlOf } from "./host-call.ts";
import type { Io } from "./io.ts";

/** What can be asked of a host. URLs are absolute. */
export interface HostClient {
  /** Calls a route, and gives its JSON, checked. What is no GET is asked once: who calls may repeat it. */
  call<const Declared extends Route>(declared: Declared, call: CallOf<Declared>): Promise<AnswerOf<Declared>>;
  /** Where a route lies. */
  urlOf<const Declared extends Route>(declared: Declared, call: Omit<CallOf<Declared>, "signal">): string;
  /** GET, whole, at most `jsonBytesMax` bytes. */
  getBytes(url: string, signal: AbortSignal): Promise<Uint8Array>;
  /** GET, as a stream, of a range of bytes or of all. */
  getStream(
    url: string,
    range: ByteRange,
    signal?: AbortSignal,
    patience?: Patience,
  ): Promise<AsyncIterable<Uint8Array>>;
}

/** How long somebody is waited for, and how often. */
export interface Patience {
  readonly attempts: number;
  readonly answerTimeoutMs: number;
}

/** Without `length`: to the end. */
export interface ByteRange {
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
}

/** An answer longer than this is no list of points: a million of them are some 200 MB, which is the most one looks at. */
const jsonBytesMax = 256 * 1024 * 1024;

/** What may pass is tried this often, after a second, then two. */
const attemptsMax = 3;

/** A host that has its hands full is asked again every three seconds: when many restore at once, each has its turn. */
const busyAttemptsMax = 40;

/** A server that does not begin to answer by then is not there. A stream may take as long as it goes on. */
const answerTimeoutMs = 30_000;

/**
 * The token for a host: PAGEFERRY_TOKEN; else, for a host on this machine only, the one that `up` keeps in `<dataDir>/token`.
 * A token never goes to a machine that it was not meant for.
 */
export async function hostToken(url: string, dataDir: string, io: Io): Promise<string | undefined> {
  const given = io.env.PAGEFERRY_TOKEN;
  if (given) return given;
  if (!isLoopback(new URL(url).hostname)) return undefined;
  return readFile(join(dataDir, "token"), "utf8").then(
    (text) => text.trim() || undefined,
    () => undefined,
  );
}

/** Whether a host's name or address means this machine. */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === "localhost" || hostname === "[::1]" || hostname === "::1" || /^127(\.\d+){3}$/.test(hostname)
  );
}

/**
 * Makes a client of the host at `base`: its origin, and a path where a proxy adds one. The token goes to its origin only: objects may lie
 * elsewhere, under URLs that need none. Without a base it takes absolute URLs only.
 */
export function createHostClient(base: string, token: string | undefined): HostClient {
  const origin = URL.parse(base)?.origin;
  async function request(
    url: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
    method = "GET",
    waitMs = answerTimeoutMs,
  ): Promise<Response> {
    const isOurs = new URL(url).origin === origin;
    const authorization: Record<string, string> =
      isOurs && token !== undefined ? { authorization: `Bearer ${token}` } : {};
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), waitMs);
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: { ...headers, ...authorization },
        redirect: isOurs ? "error" : "follow",
        signal: signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]),
      });
    } catch (cause) {
      signal?.throwIfAborted();
      const why = timeout.signal.aborted ? "no answer in time" : reasonOf(cause);
      throw new PageferryError("unavailable", `${nameOf(url)}: ${why}`, { cause });
    } finally {
      clearTimeout(timer);
    }
    if (response.ok) return response;
    throw await errorOf(response, url);
  }

  async function getBytes(url: string, signal: AbortSignal): Promise<Uint8Array> {
    return bytesOf(
      await withTries(() => request(url, { accept: "application/json" }, signal), signal),
      url,
      signal,
    );
  }

  async function askOnce(method: string, url: string, signal: AbortSignal): Promise<Uint8Array> {
    return bytesOf(await request(url, { accept: "application/json" }, signal, method), url, signal);
  }

  return {
    getBytes,
    urlOf: (declared, call) => urlOf(base, declared, call),
    async call<const Declared extends Route>(declared: Declared, call: CallOf<Declared>) {
      const url = urlOf(base, declared, call);
      const { signal } = call;
      const bytes = await (declared.method === "get"
        ? getBytes(url, signal)
        : askOnce(declared.method.toUpperCase(), url, signal));
      return checkAnswer(declared, jsonOf(bytes, url), nameOf(url)) as AnswerOf<Declared>;
    },
    async getStream(url, { offset = 0, length }, signal, patience) {
      const isRange = offset > 0 || length !== undefined;
      const last = length === undefined ? "" : String(offset + length - 1);
      const range: Record<string, string> = isRange ? { range: `bytes=${offset}-${last}` } : {};
      const ask = () => request(url, range, signal, "GET", patience?.answerTimeoutMs);
      const response = await withTries(ask, signal, patience?.attempts);
      if (isRange && response.status !== 206) {
        throw new PageferryError(
          "unavailable",
          `${nameOf(url)}: a range was asked for, and status ${response.status} came`,
        );
      }
      if (length !== undefined) await refuseShort(response, url, { offset, length });
      return streamOf(response, url, signal);
    },
  };
}

/** Repeats what may pass, after a second, then two. */
async function withTries<Result>(
  attempt: () => Promise<Result>,
  signal?: AbortSignal,
  attempts = Number.POSITIVE_INFINITY,
): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries >= Math.min(attempts, attemptsFor(error))) throw error;
      await sleep(1000 * Math.min(tries, attemptsMax), undefined, { signal });
    }
  }
}

async function bytesOf(response: Response, url: string, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of streamOf(response, url, signal)) {
    size += chunk.length;
    if (size > jsonBytesMax)
      throw new PageferryError("too-large", `${nameOf(url)}: more than ${jsonBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function attemptsFor(error: unknown): number {
  if (isPageferryError(error, "too-many")) return busyAttemptsMax;
  return isPageferryError(error, "unavailable") ? attemptsMax : 0;
}

function jsonOf(bytes: Uint8Array, url: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new PageferryError("unavailable", `${nameOf(url)}: the answer is not JSON`, { cause });
  }
}

/** A server gives what there is of a range; who asked for it knows that there is more. */
async function refuseShort(
  response: Response,
  url: string,
  { offset, length }: { readonly offset: number; readonly length: number },
): Promise<void> {
  if (Number(response.headers.get("content-length") ?? length) >= length) return;
  await response.body?.cancel();
  throw new PageferryError("corrupt", `${nameOf(url)}: ends before byte ${offset + length}`);
}

async function* streamOf(response: Response, url: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  try {
    yield* response.body as ReadableStream<Uint8Array>;
  } catch (cause) {
    signal?.throwIfAborted();
    throw new PageferryError("unavailable", `${nameOf(url)}: the answer broke off`, { cause });
  }
}

async function errorOf(response: Response, url: string): Promise<PageferryError> {
  const body = await response.text().catch(() => "");
  const problem = parseProblem(body.slice(0, 64 * 1024));
  const told =
    problem.code !== undefined && Object.hasOwn(errorTable, problem.code) ? problem.code : undefined;
  const code = (told as ErrorCode | undefined) ?? codeOfStatus(response.status);
  const words = problem.detail ?? problem.title ?? `status ${response.status}`;
  return new PageferryError(
    code,
    `${nameOf(url)}: ${words}`,
    problem.hint === undefined ? {} : { hint: problem.hint },
  );
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  if (status === 404) return "not-found";
  if (status === 409) return "conflict";
  if (status === 416) return "corrupt";
  if (status === 429) return "too-many";
  return status === 408 || status >= 500 ? "unavailable" : "bad-request";
}

type Problem = Readonly<Partial<Record<"code" | "title" | "detail" | "hint", string>>>;

function parseProblem(body: string): Problem {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(Object.entries(value).filter(([, field]) => typeof field === "string"));
  } catch {
    return {};
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return code === "ECONNREFUSED" ? "nobody listens there" : (code ?? "the connection failed");
}

/** Without the query, which may be a presigned secret. */
function nameOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
