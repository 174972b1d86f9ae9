// Asks a running agent at its control socket. What it says is wrong is thrown as it would be here.

import { type IncomingMessage, request } from "node:http";
import { type ErrorCode, errorTable, PageferryError } from "@pageferry/format";
import { fromFileSystem, openSocketPath } from "@pageferry/format/node";
import { controlSocket } from "./control-socket.ts";

/** What to ask. */
export interface ControlCall {
  readonly shadowDir: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: object;
  readonly signal: AbortSignal;
}

/** Ten thousand databases with their alarms are some megabytes. */
const answerBytesMax = 64 * 1024 * 1024;

/** Asks, and gives the answer. Errors: `not-found` where no agent runs, and what the agent answers. */
export async function callAgent<Answer>(call: ControlCall): Promise<Answer> {
  const { shadowDir } = call;
  try {
    await using socket = await openSocketPath(shadowDir, controlSocket);
    const { status, text } = await exchange(socket.path, call);
    return answerOf(status, text, shadowDir) as Answer;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTSOCK" || code === "ENOTDIR")
      throw noAgent(shadowDir, error);
    if (code === "ECONNRESET" || code === "EPIPE") {
      throw new PageferryError("unavailable", `${shadowDir}: the agent ended, or has too many clients`, {
        cause: error,
      });
    }
    throw fromFileSystem(error, `asking the agent in ${shadowDir}`);
  }
}

function exchange(
  socketPath: string,
  { method, path, body, signal }: ControlCall,
): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    readonly status: number;
    readonly text: string;
  }>();
  const sent = request({ socketPath, method, path, signal, headers: { "content-type": "application/json" } });
  sent.once("error", reject);
  sent.once("response", (response) => {
    textOf(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > answerBytesMax)
      throw new PageferryError("too-large", `an agent's answer has more than ${answerBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function answerOf(status: number, text: string, shadowDir: string): unknown {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw new PageferryError("unavailable", `${shadowDir}: what answers there is no agent (${status})`, {
      cause,
    });
  }
  if (status === 200) return answer;
  const { code, message, hint } = ((answer as { readonly error?: unknown }).error ?? {}) as Readonly<
    Record<string, unknown>
  >;
  const known =
    typeof code === "string" && Object.hasOwn(errorTable, code) ? (code as ErrorCode) : "unavailable";
  throw new PageferryError(
    known,
    String(message ?? `the agent answered ${status}`),
    typeof hint === "string" ? { hint } : {},
  );
}

function noAgent(shadowDir: string, cause: unknown): PageferryError {
  return new PageferryError("not-found", `no agent runs with ${shadowDir}`, {
    cause,
    hint: "Start one with `pageferry up` or `replicate`, or name its data with --data, its shadow with --shadow, or its --config.",
  });
}
