// The control socket of a running agent: HTTP over a unix socket in its shadow directory, for who may write there. Nothing that a client
// does or leaves undone disturbs the agent: bodies, clients and times are bounded.

import { chmod } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { ownSocket } from "@pageferry/agent";
import { errorTable, PageferryError } from "@pageferry/format";
import { fromFileSystem, makeDirectoryDurable, openSocketPath } from "@pageferry/format/node";
import type { Log } from "../log.ts";
import { asPageferryError } from "../many/fleet-words.ts";
import { controlSocket } from "./control-socket.ts";

/** What is asked for: the fields of the body, or none. */
export type Fields = Readonly<Record<string, unknown>>;

/** Answers one kind of request; what it throws is the answer, too. */
export type ControlHandler = (fields: Fields, signal: AbortSignal) => Promise<unknown> | unknown;

/** What it works with. */
export interface ControlOptions {
  readonly shadowDir: string;
  /** By method and path, such as `POST /v1/reload`. */
  readonly handlers: Readonly<Record<string, ControlHandler>>;
  readonly log: Log;
}

/** Paths and names are short. */
const bodyBytesMax = 64 * 1024;

/** People and scripts ask one at a time; waits for `sync` may take a place for minutes. */
const clientsMax = 64;

/** A request comes at once from a process of this machine. */
const requestMs = 5000;

/** Opens the socket. Disposing of it ends what is under way. Errors: `locked` where another agent has it. */
export async function openControl({ shadowDir, handlers, log }: ControlOptions): Promise<AsyncDisposable> {
  await using held = new AsyncDisposableStack();
  const ending = held.adopt(new AbortController(), (controller) => controller.abort());
  const server = createServer(
    { headersTimeout: requestMs, requestTimeout: requestMs, connectionsCheckingInterval: 1000 },
    (request, response) => {
      answer(request, response, { handlers, ending: ending.signal }).catch((err: unknown) => {
        log.error({ err }, "a request at the control socket failed");
        response.destroy();
      });
    },
  );
  server.maxConnections = clientsMax;
  server.unref();
  held.use(await listen(server, shadowDir));
  held.defer(() => {
    ending.abort();
    server.closeAllConnections();
  });
  return held.move();
}

async function listen(server: Server, directory: string): Promise<AsyncDisposable> {
  try {
    await makeDirectoryDurable(directory);
    // What is to be private is private before the socket is there.
    await chmod(directory, 0o700);
    const owned = await ownSocket(server, {
      directory,
      socketName: controlSocket,
      guardName: "control.guard",
    });
    if ("holder" in owned) {
      throw new PageferryError("locked", `${directory}/${controlSocket}: another agent answers there`, {
        hint: "Stop it first, or give this one a `shadowDir` of its own. To add a database to it: `pageferry register`.",
      });
    }
    await using socket = await openSocketPath(directory, controlSocket);
    // On a full disk it is made later; its directory is private.
    await chmod(socket.path, 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    return owned;
  } catch (error) {
    throw fromFileSystem(error, `opening the control socket in ${directory}`);
  }
}

interface Answering {
  readonly handlers: ControlOptions["handlers"];
  readonly ending: AbortSignal;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { handlers, ending }: Answering,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.on("error", () => gone.abort());
  const key = `${request.method} ${request.url}`;
  try {
    const handler = Object.hasOwn(handlers, key) ? handlers[key] : undefined;
    if (handler === undefined) throw unknownRequest(key);
    const fields = request.method === "GET" ? {} : await fieldsOf(request);
    send(response, 200, await handler(fields, AbortSignal.any([ending, gone.signal])));
  } catch (thrown) {
    if (gone.signal.aborted) return;
    const { code, message, hint } = asPageferryError(thrown);
    const kind = errorTable[code];
    send(response, "status" in kind ? kind.status : 400, { error: { code, message, hint } });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(`${JSON.stringify(body)}\n`);
}

async function fieldsOf(request: IncomingMessage): Promise<Fields> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) {
      throw new PageferryError("too-large", `a request has more than ${bodyBytesMax} bytes`, {
        hint: "Ask for less at a time.",
      });
    }
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    const value: unknown = text === "" ? {} : JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  throw new PageferryError("bad-request", "a request is not a JSON object");
}

function unknownRequest(key: string): PageferryError {
  return new PageferryError("not-found", `the control socket knows no ${key.slice(0, 80)}`, {
    hint: "Is the agent of the same version as this command?",
  });
}
