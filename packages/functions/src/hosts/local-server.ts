// The host's HTTP server on Node: where it listens, how long it waits for whom, and what it says to those who speak no HTTP.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener, RequestError } from "@hono/node-server";
import { type Config, PageferryError } from "@pageferry/format";
import { problemOf } from "../problem.ts";
import { newRequestId, requestIdHeader } from "../request-id.ts";

/** Where the host listens when nobody says where, if that port is free. */
const portDefault = 7373;

/** How long somebody may take for what. */
export interface ServerTimeouts {
  /** For the headers of a request, from its first byte: whoever sends them one by one holds a connection and nothing else. */
  readonly headersMs: number;
  /** A connection on which nothing moves for this long is gone. How long a body may take is not bounded, but how slow: request-body.ts. */
  readonly idleMs: number;
  /** Between two requests of a connection. */
  readonly keepAliveMs: number;
}

const timeoutsDefault: ServerTimeouts = { headersMs: 20_000, idleMs: 120_000, keepAliveMs: 10_000 };

export interface Listening {
  readonly url: string;
  /** Takes no new calls, gives those under way until the deadline, then cuts them off. */
  close(deadlineMs: number): Promise<void>;
}

/** Serves an app. Errors: `bad-config` where it cannot listen. */
export async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  at: Config["listen"] | undefined,
  timeouts: ServerTimeouts = timeoutsDefault,
): Promise<Listening> {
  const host = at?.host ?? "127.0.0.1";
  const server = serverOf(fetch, timeouts);
  const port = await listenOn(server, host, at?.port ?? portDefault, at?.port === undefined);
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async close(deadlineMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), deadlineMs);
      await closed;
      clearTimeout(cut);
    },
  };
}

function serverOf(
  fetch: (request: Request) => Response | Promise<Response>,
  { headersMs, idleMs, keepAliveMs }: ServerTimeouts,
): Server {
  const options = {
    // A large body on a slow line takes as long as it goes on.
    requestTimeout: 0,
    headersTimeout: headersMs,
    keepAliveTimeout: keepAliveMs,
    connectionsCheckingInterval: Math.min(5000, Math.ceil(headersMs / 4)),
    // A header that two servers could read in two ways is refused.
    insecureHTTPParser: false,
    requireHostHeader: true,
  };
  const listener = getRequestListener(fetch, { errorHandler: answerTo });
  const refused = new WeakSet<Socket>();
  const server = createServer(options, (incoming, outgoing) => {
    const { socket } = incoming;
    // What stands behind such a request on its line may have been read as a part of it elsewhere.
    if (refused.has(socket)) return;
    if (hostsIn(incoming) <= 1) return void listener(incoming, outgoing);
    refused.add(socket);
    refuseHosts(outgoing);
  });
  server.timeout = idleMs;
  server.on("clientError", refuseConnection);
  return server;
}

/** Node keeps the first and forgets the others; a proxy before us may have gone by another one. */
function hostsIn({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === "host").length;
}

function refuseHosts(outgoing: ServerResponse): void {
  const told = new PageferryError("bad-request", "the request has more than one Host header");
  const requestId = newRequestId();
  const { status, headers, body } = problemOf(told, { isAboutRequest: true, requestId });
  const own = {
    connection: "close",
    "content-length": Buffer.byteLength(body),
    [requestIdHeader]: requestId,
  };
  outgoing.writeHead(status, { ...headers, ...own }).end(body);
}

/** What never came to the app: a request that the platform knows none of, such as one with an impossible Host. */
function answerTo(error: unknown): Response {
  const told =
    error instanceof RequestError
      ? new PageferryError("bad-request", "the request is not one of HTTP", { cause: error })
      : error;
  const requestId = newRequestId();
  const { status, headers, body } = problemOf(told, { isAboutRequest: true, requestId });
  const more = { connection: "close", [requestIdHeader]: requestId };
  return new Response(body, { status, headers: { ...headers, ...more } });
}

/** What could not be read as a request gets an answer all the same, and its connection ends: where the next one begins is not known. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const answered = socket as Socket & { readonly _httpMessage?: { readonly headersSent?: boolean } | null };
  if (answered._httpMessage?.headersSent === true) {
    socket.destroy();
    return;
  }
  const { status, words, told } = refusalOf(error.code);
  const requestId = newRequestId();
  const { body } = problemOf(told, { isAboutRequest: true, requestId, status });
  socket.end(
    [
      `HTTP/1.1 ${status} ${words}`,
      "content-type: application/problem+json",
      `content-length: ${Buffer.byteLength(body)}`,
      "cache-control: no-store",
      `${requestIdHeader}: ${requestId}`,
      "connection: close",
      "",
      body,
    ].join("\r\n"),
  );
}

interface Refusal {
  readonly status: number;
  readonly words: string;
  readonly told: PageferryError;
}

function refusalOf(code: string | undefined): Refusal {
  if (code === "HPE_HEADER_OVERFLOW") {
    const told = new PageferryError("too-large", "the headers are longer than 16 KiB");
    return { status: 431, words: "Request Header Fields Too Large", told };
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    const told = new PageferryError("unavailable", "the request did not come in time");
    return { status: 408, words: "Request Timeout", told };
  }
  const told = new PageferryError("bad-request", "the request is not one of HTTP/1.1");
  return { status: 400, words: "Bad Request", told };
}

function listenOn(server: Server, host: string, port: number, mayMove: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException) => {
      if (cause.code === "EADDRINUSE" && mayMove) return resolve(listenOn(server, host, 0, false));
      const hint = cause.code === "EADDRINUSE" ? { hint: "Choose another with --port." } : {};
      reject(
        new PageferryError("bad-config", `cannot listen on ${host}:${port}: ${cause.code ?? cause.message}`, {
          cause,
          ...hint,
        }),
      );
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
