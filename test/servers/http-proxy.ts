// A small real proxy before an HTTP server, which can be told what to do with each request: answer itself, lose the answer,
// break the line, change what passes.

import { createServer, type IncomingHttpHeaders, request } from "node:http";
import type { Socket } from "node:net";

/** A request as it comes to the proxy. */
export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

/** What becomes of a request; nothing: it passes as it is. */
export interface Verdict {
  /** Answered here; the server never sees it. */
  readonly answer?: {
    readonly status: number;
    readonly body?: string;
    readonly headers?: Readonly<Record<string, string>>;
  };
  /** The line is broken before the server sees it. */
  readonly reset?: boolean;
  /** The server does it, and its answer is lost. */
  readonly loseAnswer?: boolean;
  /** The server's answer, as text, is changed. */
  readonly rewrite?: (body: string) => string;
}

export interface HttpProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** All requests so far. */
  readonly requests: readonly ProxiedRequest[];
  /** Asked for each request. */
  rule: (request: ProxiedRequest) => Verdict | undefined | Promise<Verdict | undefined>;
  /** Breaks every connection on which nothing happens now, as servers do that want their memory back. */
  closeIdle(): void;
}

/** An answer as an S3 server gives it. */
export function s3Answer(status: number, code: string, message = code): NonNullable<Verdict["answer"]> {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, body, headers: { "content-type": "application/xml" } };
}

/** Starts a proxy on a free port before the server at `target`. */
export async function startHttpProxy(target: string): Promise<HttpProxy> {
  const requests: ProxiedRequest[] = [];
  const sockets = new Set<Socket>();
  const busy = new Set<Socket>();
  const proxy: { rule: HttpProxy["rule"] } = { rule: () => undefined };
  const server = createServer(async (incoming, outgoing) => {
    const { socket } = incoming;
    busy.add(socket);
    outgoing.on("close", () => busy.delete(socket));
    const { method = "GET", url: path = "/", headers } = incoming;
    const seen = { method, path, headers };
    requests.push(seen);
    const verdict = (await proxy.rule(seen)) ?? {};
    if (verdict.reset === true) return void socket.destroy();
    if (verdict.answer !== undefined) {
      const { status, body = "", headers: answered } = verdict.answer;
      incoming.resume();
      outgoing.writeHead(status, { ...answered, "content-length": Buffer.byteLength(body) });
      return void outgoing.end(method === "HEAD" ? undefined : body);
    }
    const onward = request(new URL(path, target), { method, headers, agent: false }, (answer) => {
      if (verdict.loseAnswer === true) {
        answer.resume();
        answer.on("end", () => socket.destroy());
        return;
      }
      if (verdict.rewrite === undefined) {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
        answer.on("error", () => outgoing.destroy());
        return;
      }
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () => {
        const body = verdict.rewrite?.(Buffer.concat(chunks).toString()) ?? "";
        const { "transfer-encoding": _, ...rest } = answer.headers;
        outgoing.writeHead(answer.statusCode ?? 502, { ...rest, "content-length": Buffer.byteLength(body) });
        outgoing.end(body);
      });
    });
    onward.on("error", () => socket.destroy());
    incoming.on("error", () => onward.destroy());
    incoming.pipe(onward);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    get rule() {
      return proxy.rule;
    },
    set rule(rule) {
      proxy.rule = rule;
    },
    closeIdle() {
      for (const socket of sockets) if (!busy.has(socket)) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
