// AWS Lambda's Runtime API on loopback, and functions that run behind it in AWS's own runtime interface client: one process at a
// time, started by the first invocation and kept warm, killed when it takes too long, as AWS does it.

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type RunningProcess, startProcess } from "../processes.ts";
import { serverHome, skippedWithout } from "./server.ts";

const client = join(serverHome("lambda-ric"), "node_modules/aws-lambda-ric/index.mjs");

/** Why the tests that need the runtime interface client are skipped; false where they run. */
export const withoutLambdaClient = skippedWithout(client);

export interface LambdaOptions {
  /** The directory of a bundle, with `handler.mjs` in it. */
  readonly bundle: string;
  readonly env: Readonly<Record<string, string>>;
  /** Default 30 s. A function that takes longer is killed, and its invocation has failed. */
  readonly timeoutMs?: number;
}

/** What an invocation came to. A streamed answer is in `bytes` alone. */
export type Invoked =
  | { readonly ok: true; readonly value: unknown; readonly bytes: Buffer; readonly isStreamed: boolean }
  | { readonly ok: false; readonly error: unknown };

export interface LambdaFunction extends AsyncDisposable {
  /** Invocations wait for one another: one process works one at a time. */
  invoke(event: unknown): Promise<Invoked>;
  /** SIGKILL, in the middle of whatever it does; what was under way has failed. */
  kill(): Promise<void>;
  /** From the start of each process until it asked for its first event, ms. */
  readonly initMs: readonly number[];
  output(): string;
}

interface Invocation {
  readonly id: string;
  readonly event: unknown;
  readonly done: (result: Invoked) => void;
  timer?: NodeJS.Timeout;
}

interface Loop {
  waiting: ServerResponse | undefined;
  current: Invocation | undefined;
  readonly queue: Invocation[];
  readonly initMs: number[];
  startedMs: number;
}

/** A function; nothing is started until it is invoked. */
export async function startLambda(options: LambdaOptions): Promise<LambdaFunction> {
  const { timeoutMs = 30_000 } = options;
  const loop: Loop = { waiting: undefined, current: undefined, queue: [], initMs: [], startedMs: 0 };
  let running: RunningProcess | undefined;
  let output = "";
  const end = async (error: unknown) => {
    const ending = running;
    running = undefined;
    loop.waiting = undefined;
    const failed = loop.current;
    loop.current = undefined;
    output += ending?.output() ?? "";
    await ending?.[Symbol.asyncDispose]();
    clearTimeout(failed?.timer);
    failed?.done({ ok: false, error });
  };
  const server = createServer((request, response) => void answer(loop, request, response, give));
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const start = () => {
    loop.startedMs = performance.now();
    const starting = startFunction(options, port);
    running = starting;
    void starting.ended.then(async () => {
      if (running !== starting) return;
      // One that ends before it asks for anything would end again.
      if (loop.startedMs > 0) loop.current ??= loop.queue.shift();
      await end("the process ended");
      give();
    });
  };
  function give(): void {
    if (loop.current !== undefined) return;
    const next = loop.queue[0];
    if (next === undefined) return;
    if (running === undefined) start();
    if (loop.waiting === undefined) return;
    loop.queue.shift();
    loop.current = next;
    next.timer = setTimeout(() => void end(`Task timed out after ${timeoutMs} ms`).then(give), timeoutMs);
    hand(loop.waiting, next, timeoutMs);
    loop.waiting = undefined;
  }
  return {
    initMs: loop.initMs,
    output: () => output + (running?.output() ?? ""),
    invoke: (event) =>
      new Promise((resolve) => {
        const done = (result: Invoked) => {
          resolve(result);
          setImmediate(give);
        };
        loop.queue.push({ id: randomUUID(), event, done });
        give();
      }),
    async kill() {
      await end("killed");
      give();
    },
    async [Symbol.asyncDispose]() {
      loop.queue.length = 0;
      await end("disposed");
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function startFunction({ bundle, env }: LambdaOptions, port: number): RunningProcess {
  return startProcess(process.execPath, [client, "handler.handler"], {
    cwd: bundle,
    env: {
      PATH: process.env.PATH ?? "",
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`,
      LAMBDA_TASK_ROOT: bundle,
      _HANDLER: "handler.handler",
      AWS_LAMBDA_FUNCTION_NAME: "function",
      AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "512",
      AWS_LAMBDA_LOG_GROUP_NAME: "/aws/lambda/function",
      AWS_LAMBDA_LOG_STREAM_NAME: "stream",
      AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x",
      AWS_REGION: "us-east-1",
      ...env,
    },
  });
}

function hand(response: ServerResponse, { id, event }: Invocation, timeoutMs: number): void {
  response.writeHead(200, {
    "Content-Type": "application/json",
    "Lambda-Runtime-Aws-Request-Id": id,
    "Lambda-Runtime-Deadline-Ms": String(Date.now() + timeoutMs),
    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:function",
  });
  response.end(JSON.stringify(event));
}

async function answer(
  loop: Loop,
  request: IncomingMessage,
  response: ServerResponse,
  give: () => void,
): Promise<void> {
  const path = (request.url ?? "").replace("/2018-06-01/runtime", "");
  if (path === "/invocation/next") {
    if (loop.startedMs > 0) loop.initMs.push(performance.now() - loop.startedMs);
    loop.startedMs = 0;
    loop.waiting = response;
    return give();
  }
  const bytes = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
  const { current } = loop;
  const [, id, how] = /^\/invocation\/([^/]+)\/(response|error)$/.exec(path) ?? [];
  const isInit = path === "/init/error";
  if (!isInit && (current === undefined || current.id !== id)) {
    response.writeHead(400).end("{}");
    return;
  }
  response.writeHead(202).end("{}");
  const failed = isInit ? loop.queue.shift() : undefined;
  if (!isInit) loop.current = undefined;
  const done = failed ?? current;
  clearTimeout(done?.timer);
  if (how === "response") {
    const isStreamed = request.headers["lambda-runtime-function-response-mode"] === "streaming";
    const value: unknown = isStreamed ? undefined : JSON.parse(bytes.toString() || "null");
    done?.done({ ok: true, value, bytes, isStreamed });
  } else done?.done({ ok: false, error: JSON.parse(bytes.toString()) });
}
