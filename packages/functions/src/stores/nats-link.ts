// One connection to one of several NATS servers, and questions asked over it. The only file that imports the library.
// A lost connection is not mended here: what was in flight fails at once, and the next call connects anew.

import { createConnection } from "node:net";
import {
  type ConnectionOptions,
  connect,
  headers as emptyHeaders,
  jwtAuthenticator,
  type Msg,
  type NatsConnection,
  nkeyAuthenticator,
  nuid,
  RequestStrategy,
  type TlsOptions,
} from "nats";
import { untilAborted } from "../deadline.ts";
import { type NatsCredentials, type NatsServer, readCredentials, readRootCAs } from "./nats-auth.ts";
import { fromNats } from "./nats-errors.ts";

/** An answer: its bytes, its headers, and a status that is 0 for an ordinary message. */
export interface NatsReply {
  readonly data: Uint8Array;
  readonly status: number;
  header(name: string): string;
}

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** A live connection. */
export interface NatsLink {
  readonly maxPayload: number;
  /** Whether the server answers one question with many messages: since 2.11. */
  readonly canBatch: boolean;
  isClosed(): boolean;
  /** Errors: as `fromNats` makes them, `unavailable` after the timeout without an answer. */
  ask(subject: string, body: Uint8Array | string, options?: AskOptions): Promise<NatsReply>;
  /** The answers up to the one that says there are no more; without that one at the end, time was short. */
  askMany(subject: string, body: string, options?: AskOptions): Promise<NatsReply[]>;
  close(): Promise<void>;
}

export interface LinkOptions {
  readonly servers: readonly NatsServer[];
  /** What the URL held. */
  readonly credentials: NatsCredentials;
  readonly creds?: string | undefined;
  readonly nkey?: string | undefined;
  readonly rootCAs: readonly string[];
  readonly timeoutMs: number;
  /** The store's name, for messages. */
  readonly where: string;
  /** Told which server answered. */
  readonly onServer?: (server: NatsServer) => void;
}

/** A connection that is asked whether it still lives gets this long. */
const aliveMs = 2_000;

/** An id for chunks that no other writer has. */
export const freshId = (): string => nuid.next();

/** Connects to the first server that answers, beginning with `servers[0]`. The whole takes at most the timeout. */
export async function connectNats(options: LinkOptions): Promise<NatsLink> {
  const { servers, where } = options;
  const credentials = { ...options.credentials, ...(await readCredentials(options)) };
  const ca = await readRootCAs(options.rootCAs);
  const timeoutMs = Math.max(500, Math.ceil(options.timeoutMs / servers.length));
  const failures: unknown[] = [];
  for (const server of servers) {
    const at = `${where} (${server.host}:${server.port})`;
    try {
      await hearServer(server, timeoutMs);
      const connection = await connect({
        ...authenticated(credentials),
        servers: server.host.includes(":")
          ? `[${server.host}]:${server.port}`
          : `${server.host}:${server.port}`,
        name: "pageferry",
        timeout: timeoutMs,
        reconnect: false,
        ignoreClusterUpdates: true,
        noAsyncTraces: true,
        pingInterval: options.timeoutMs,
        ...(server.isTls || ca !== undefined ? { tls: tlsOptions(server, ca) } : {}),
      });
      options.onServer?.(server);
      return linkOver(connection, options.timeoutMs, where);
    } catch (error) {
      failures.push(fromNats(error, at));
    }
  }
  // A server that refuses says more than one that is away.
  throw failures.find((failure) => (failure as { code?: unknown }).code === "unauthorized") ?? failures[0];
}

function authenticated({ user, pass, token, jwt, seed }: NatsCredentials): ConnectionOptions {
  const key = seed === undefined ? undefined : new TextEncoder().encode(seed);
  if (jwt !== undefined && key !== undefined) return { authenticator: jwtAuthenticator(jwt, key) };
  if (key !== undefined) return { authenticator: nkeyAuthenticator(key) };
  if (token !== undefined) return { token };
  return user === undefined ? {} : { user, pass: pass ?? "" };
}

/** `host` is what Node compares the certificate with where the server is named by its address. */
function tlsOptions(server: NatsServer, ca: string | undefined): TlsOptions {
  const options: TlsOptions & { readonly host: string } = {
    host: server.host,
    ...(ca === undefined ? {} : { ca }),
  };
  return options;
}

/**
 * Waits for a server's first words. The library would wait too, but leaves its socket open when a server that took the
 * connection says nothing: one descriptor for every attempt at a frozen server.
 */
function hearServer({ host, port }: NatsServer, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    const end = (error?: Error) => {
      clearTimeout(timer);
      socket.removeAllListeners().on("error", () => undefined);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const failed = (code: string, words: string) =>
      end(Object.assign(new Error(words), { code, syscall: "connect" }));
    const timer = setTimeout(() => failed("ETIMEDOUT", `nothing heard in ${timeoutMs} ms`), timeoutMs);
    socket.once("error", end);
    socket.once("end", () => failed("ECONNRESET", "closed before a word"));
    socket.once("data", (words) => {
      if (words.toString("latin1", 0, 5).toUpperCase() === "INFO ") end();
      else failed("EPROTONOSUPPORT", "this is no NATS server");
    });
  });
}

function linkOver(connection: NatsConnection, timeoutMs: number, where: string): NatsLink {
  const dropIfDead = async (): Promise<void> => {
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, Math.min(aliveMs, timeoutMs), false);
    });
    const lives = connection.flush().then(
      () => true,
      () => false,
    );
    if (!(await Promise.race([lives, tooLong]))) await connection.close();
    clearTimeout(timer);
  };
  const failed = (error: unknown): unknown => {
    // A server that answers nobody is left, so that the next call finds another, or the same one after its restart.
    if ((error as { code?: unknown }).code === "TIMEOUT" && !connection.isClosed())
      void dropIfDead().catch(() => undefined);
    return fromNats(error, where);
  };

  return {
    maxPayload: connection.info?.max_payload ?? 0,
    canBatch: isAtLeast(connection.info?.version ?? "", 2, 11),
    isClosed: () => connection.isClosed(),
    async ask(subject, body, { headers, signal } = {}) {
      try {
        const asked = connection.request(subject, body, {
          timeout: timeoutMs,
          ...(headers === undefined ? {} : { headers: headersOf(headers) }),
        });
        return replyOf(await untilAborted(asked, signal));
      } catch (error) {
        throw failed(error);
      }
    },
    async askMany(subject, body, { signal } = {}) {
      try {
        const strategy = RequestStrategy.SentinelMsg;
        const answers = await connection.requestMany(subject, body, { strategy, maxWait: timeoutMs });
        const gathered = async () => {
          const replies: NatsReply[] = [];
          for await (const message of answers) replies.push(replyOf(message));
          return replies;
        };
        const replies = await untilAborted(gathered(), signal);
        if (replies.length === 0)
          throw Object.assign(new Error("no answer"), { name: "NatsError", code: "TIMEOUT" });
        return replies;
      } catch (error) {
        throw failed(error);
      }
    },
    close: () => connection.close(),
  };
}

function headersOf(record: Readonly<Record<string, string>>): ReturnType<typeof emptyHeaders> {
  const headers = emptyHeaders();
  for (const [key, value] of Object.entries(record)) headers.set(key, value);
  return headers;
}

function replyOf(message: Msg): NatsReply {
  const { data, headers } = message;
  return { data, status: headers?.code ?? 0, header: (name) => headers?.get(name) ?? "" };
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [, ours = "0", theirs = "0"] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(ours) > major || (Number(ours) === major && Number(theirs) >= minor);
}
