// A call to a URL outside: small, bounded, without redirects, and only to public addresses unless the configuration allows
// another. The address is checked where the connection is made, so that a name cannot show one address and lead to another.

import { type LookupAddress, lookup as lookupName } from "node:dns";
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { withDeadline } from "./deadline.ts";
import { isPublicAddress } from "./public-address.ts";

/** An answer that takes longer is none: what is told waits behind it. */
const timeoutMsDefault = 10_000;

/** Of an answer only its status counts; a body longer than this is cut off. */
const answerBytesMax = 64 * 1024;

/** All addresses of a name. */
export type Resolve = (name: string) => Promise<readonly LookupAddress[]>;

export interface OutboundOptions {
  /** Private addresses: none, any, or those of these hosts. */
  readonly allowPrivate: boolean | readonly string[];
  /** Default 10 s, for all of it. */
  readonly timeoutMs?: number;
  /** Default: the system's resolver. */
  readonly resolve?: Resolve;
}

export interface OutboundCall {
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/** Makes calls. Messages name the host of a URL and nothing more of it: the rest is a secret. */
export interface Outbound {
  /**
   * Resolves when the answer is a 2xx. Errors: `unavailable` for what may pass; `bad-config` for an address that is not allowed,
   * a redirect, and every other answer that says that the call itself is wrong.
   */
  call(call: OutboundCall): Promise<void>;
}

export function createOutbound(options: OutboundOptions): Outbound {
  const { allowPrivate, timeoutMs = timeoutMsDefault, resolve = resolveName } = options;
  return {
    async call({ url, method, headers = {}, body, signal }) {
      const target = new URL(url);
      const isFree = allowPrivate === true || (allowPrivate || []).some((host) => isHost(host, target));
      if (!isFree) checkLiteral(target);
      const request = {
        method,
        headers: { "user-agent": "pageferry", ...headers, ...lengthOf(body) },
        // A connection of its own: none that was made under another rule.
        agent: false,
        lookup: guardedLookup(resolve, isFree),
      };
      try {
        const status = await withDeadline(timeoutMs, signal, (until) =>
          send(target, { ...request, signal: until }, body),
        );
        checkStatus(target, status);
      } catch (error) {
        signal?.throwIfAborted();
        throw told(target, error);
      }
    },
  };
}

function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

function isHost(named: string, target: URL): boolean {
  return named.toLowerCase() === bareHost(target);
}

/** A URL has written numbers as addresses by now: 0x7f.1 and 2130706433 are 127.0.0.1. No name is looked up for these. */
function checkLiteral(target: URL): void {
  const host = bareHost(target);
  if (isIP(host) !== 0 && !isPublicAddress(host)) throw notAllowed(host);
}

function notAllowed(name: string): PageferryError {
  return new PageferryError("bad-config", `${name}: is a private address, or leads to one`, {
    hint: "Where that is meant, name the host in `alarms.allowPrivate`.",
  });
}

/** The addresses that are connected to are those that were checked. */
function guardedLookup(resolve: Resolve, isFree: boolean): NonNullable<RequestOptions["lookup"]> {
  return (name, options, done) => {
    resolve(name).then(
      (found) => {
        const allowed = isFree ? found : found.filter(({ address }) => isPublicAddress(address));
        const [first] = allowed;
        if (first === undefined) done(notAllowed(name), "", 0);
        else if (options.all === true) done(null, [...allowed]);
        else done(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => done(error, "", 0),
    );
  };
}

function resolveName(name: string): Promise<readonly LookupAddress[]> {
  return new Promise((settle, reject) => {
    lookupName(name, { all: true }, (error, found) => (error === null ? settle(found) : reject(error)));
  });
}

function lengthOf(body: string | undefined): Record<string, number> {
  return body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
}

/** The status of the answer, once all of it has come or enough. */
function send(target: URL, options: RequestOptions, body: string | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = target.protocol === "https:" ? httpsRequest : httpRequest;
    const call = request(target, options, (answer: IncomingMessage) => {
      let length = 0;
      const done = () => resolve(answer.statusCode ?? 0);
      answer.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length <= answerBytesMax) return;
        done();
        call.destroy();
      });
      answer.on("end", done);
      answer.on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

function checkStatus(target: URL, status: number): void {
  if (status >= 200 && status < 300) return;
  const message = `answers ${status}`;
  if (status >= 300 && status < 400) {
    throw new PageferryError("bad-config", `${target.host}: ${message}, a redirect, which is not followed`, {
      hint: "Give the URL that it leads to.",
    });
  }
  const mayPass = status >= 500 || status === 408 || status === 425 || status === 429;
  if (mayPass) throw new PageferryError("unavailable", message);
  throw new PageferryError("bad-config", `${target.host}: ${message}`, {
    hint: "See whether the URL and its format are right.",
  });
}

/** A failure with the host's name; what is wrong with the call has it already. */
function told({ host }: URL, error: unknown): PageferryError {
  if (isPageferryError(error, "bad-config")) return error;
  const why = isPageferryError(error)
    ? error.message
    : ((error as NodeJS.ErrnoException).code ?? "the call failed");
  return new PageferryError("unavailable", `${host}: ${why}`, { cause: error });
}
