// The way to an SFTP session: the server's key judged, our own shown. The one file that loads ssh2.

import { readFile } from "node:fs/promises";
import { connect as connectSocket, type Socket } from "node:net";
import { PageferryError } from "@pageferry/format";
import SftpClient from "ssh2-sftp-client";
import { openRequests, type SessionOptions, type SftpConnection } from "./sftp-connection.ts";
import { expandHome, type HostKeyJudge, type HostKeyOptions, hostKeyJudge } from "./sftp-host-key.ts";

/** Who connects to what. */
export interface SftpLogin extends HostKeyOptions, SessionOptions {
  readonly user: string;
  readonly password?: string | undefined;
  readonly keyPath?: string | undefined;
  readonly passphrase?: string | undefined;
}

type Algorithms = NonNullable<SftpClient.ConnectOptions["algorithms"]>;
type Sftp = Awaited<ReturnType<SftpClient["connect"]>>;

/** Connects and logs in, unless the signal ends it. Errors: `unavailable`; `unauthorized` for the server's key or ours. */
export async function connectSftp(login: SftpLogin, signal: AbortSignal): Promise<SftpConnection> {
  const judge = await hostKeyJudge(login);
  const credentials = await credentialsOf(login);
  let refused: unknown;
  for (const offer of judge.offers) {
    if (signal.aborted) throw new PageferryError("unavailable", `${login.name}: the store is closed`);
    const attempt = new Attempt(login, judge, offer, credentials);
    const giveUp = () => void attempt.socket.destroy();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      return openRequests(await attempt.connect(), attempt.socket, login);
    } catch (error) {
      attempt.socket.destroy();
      // A lone fingerprint does not say of which kind the key is: the server may have the right one of another kind.
      if (attempt.refusal === undefined && !attempt.hasNoSuchKey()) throw attempt.explain(error);
      refused ??= attempt.refusal;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }
  throw (
    refused ?? new PageferryError("unavailable", `${login.name}: no host key of a kind that can be verified`)
  );
}

interface Credentials {
  readonly password?: string;
  readonly privateKey?: Buffer;
  readonly passphrase?: string;
}

async function credentialsOf(login: SftpLogin): Promise<Credentials> {
  const { password, keyPath, passphrase } = login;
  try {
    return {
      ...(password === undefined ? {} : { password }),
      ...(keyPath === undefined ? {} : { privateKey: await readFile(expandHome(keyPath)) }),
      ...(passphrase === undefined ? {} : { passphrase }),
    };
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    throw new PageferryError("unauthorized", `${login.name}: reading keyPath ${keyPath}: ${errno}`, {
      cause: error,
      hint: "Name a private key that this user can read.",
    });
  }
}

/** One connection on its way up: what it met, so that its failure can be told in our words. */
class Attempt {
  readonly socket: Socket;
  refusal: PageferryError | undefined;
  #first: (Error & { readonly level?: string; readonly code?: unknown }) | undefined;
  readonly #login: SftpLogin;
  readonly #client: SftpClient;
  readonly #options: SftpClient.ConnectOptions;

  constructor(login: SftpLogin, judge: HostKeyJudge, offer: readonly string[], credentials: Credentials) {
    this.#login = login;
    // Without TCP_NODELAY every small request waits some 40 ms for the acknowledgement of the one before.
    this.socket = connectSocket({ host: login.host, port: login.port, noDelay: true });
    // ssh2 listens only once it has read the private key; an error before that would end the process.
    this.socket.on("error", () => undefined);
    this.#client = new SftpClient("pageferry", {});
    this.#client.on("error", (error: Error) => {
      this.#first ??= error;
    });
    const { password } = credentials;
    if (password !== undefined) {
      // What servers with PAM often ask for in place of a password: the same, as an answer to a question.
      this.#client.on("keyboard-interactive", (...asked: unknown[]) => {
        const [prompts, answer] = asked.slice(-2) as [readonly unknown[], (answers: string[]) => void];
        answer(prompts.map(() => password));
      });
    }
    this.#options = {
      sock: this.socket,
      host: login.host,
      port: login.port,
      username: login.user,
      ...credentials,
      tryKeyboard: password !== undefined,
      readyTimeout: login.timeoutMs,
      // Often enough that a server busy with a long fsync is told apart from one that is gone.
      keepaliveInterval: Math.max(1, Math.floor(login.timeoutMs / 4)),
      keepaliveCountMax: 3,
      algorithms: { serverHostKey: [...offer] as NonNullable<Algorithms["serverHostKey"]> },
      hostVerifier: (key: Buffer): boolean => {
        this.refusal = judge.judge(key);
        return this.refusal === undefined;
      },
    };
  }

  async connect(): Promise<Sftp> {
    // `readyTimeout` ends with the login; the session must be opened in time, too.
    const timer = setTimeout(() => this.socket.destroy(), 2 * this.#login.timeoutMs);
    try {
      return await this.#client.connect(this.#options);
    } finally {
      clearTimeout(timer);
    }
  }

  hasNoSuchKey(): boolean {
    return /no matching host key/i.test(this.#first?.message ?? "");
  }

  explain(error: unknown): PageferryError {
    const { name, user } = this.#login;
    const cause = this.#first ?? (error as Error & { readonly code?: unknown });
    const text = cause.message.replace(/^getConnection: /, "");
    if (this.#first?.level === "client-authentication" || /authentication/i.test(text)) {
      return new PageferryError("unauthorized", `${name}: the server refuses the login of ${user}`, {
        cause,
        hint: "Look at user, password and keyPath, and at authorized_keys on the server.",
      });
    }
    if (/private ?key|passphrase|unsupported key format/i.test(text)) {
      return new PageferryError("unauthorized", `${name}: keyPath ${this.#login.keyPath}: ${text}`, {
        cause,
        hint: "Set passphrase if the key has one; keyPath names a private key as OpenSSH writes it.",
      });
    }
    const why = typeof cause.code === "string" && cause.code.startsWith("E") ? cause.code : text;
    return new PageferryError("unavailable", `${name}: cannot connect: ${why}`, { cause });
  }
}
