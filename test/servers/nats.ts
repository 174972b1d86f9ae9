// A real nats-server with JetStream, in a temporary folder on a free port, and ways to treat it badly.
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { type RunningProcess, runProcess, startProcess } from "../processes.ts";
import { freePort, temporaryDirectory, until } from "../temporary.ts";

const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "pageferry-test");
const binary = join(cache, "nats-server-2.15.1", "nats-server");

/** Why the tests of this server cannot run; false where they can. In CI they run, and fail, without it. */
export const natsMissing: string | false =
  existsSync(binary) || process.env.CI !== undefined
    ? false
    : "no nats-server here: npm run setup installs it";

/** Who may connect, as the text of a server's configuration. `open`: everybody. */
export interface NatsOptions {
  /** Text for the configuration file, such as `authorization { … }`. May be changed with `reload`. */
  readonly config?: string;
  /** A certificate and its key, both files. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** The server's limit for all streams on disk, such as `8MB`. */
  readonly maxFile?: string;
}

export interface NatsServerProcess extends AsyncDisposable {
  readonly port: number;
  /** `nats://127.0.0.1:port`. */
  readonly url: string;
  /** Where its streams are. */
  readonly storeDir: string;
  /** Its numbers, as JSON. */
  readonly monitorUrl: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on its port and data, and waits until it answers. */
  restart(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Replaces `config` and lets the running server read it. */
  reload(config: string): Promise<void>;
  log(): string;
}

/** Starts one and waits until JetStream is up. */
export async function startNats(options: NatsOptions = {}): Promise<NatsServerProcess> {
  const directory = await temporaryDirectory();
  const [port, monitor] = [await freePort(), await freePort()];
  const storeDir = directory.file("jetstream");
  const file = directory.file("nats.conf");
  const write = (config: string) =>
    writeFile(
      file,
      [
        `listen: "127.0.0.1:${port}"`,
        `http: "127.0.0.1:${monitor}"`,
        `jetstream { store_dir: "${storeDir}", max_mem: 64MB, max_file: ${options.maxFile ?? "4GB"} }`,
        options.tls === undefined
          ? ""
          : `tls { cert_file: "${options.tls.cert}", key_file: "${options.tls.key}" }`,
        config,
      ].join("\n"),
    );
  await write(options.config ?? "");
  let child: RunningProcess | undefined;
  const start = async () => {
    child = startProcess(binary, ["--config", file]);
    const started = child;
    await until(
      "the NATS server is up",
      async () => {
        if (!started.isRunning()) throw new Error(`nats-server ended:\n${started.output()}`);
        const health = await fetch(`http://127.0.0.1:${monitor}/healthz`).catch(() => undefined);
        return health?.ok === true;
      },
      { timeoutMs: 20_000, everyMs: 20 },
    );
  };
  const kill = async () => {
    child?.kill("SIGKILL");
    await child?.ended;
  };
  try {
    await start();
  } catch (error) {
    await kill();
    await directory[Symbol.asyncDispose]();
    throw error;
  }

  return {
    port,
    url: `nats://127.0.0.1:${port}`,
    storeDir,
    monitorUrl: `http://127.0.0.1:${monitor}/varz`,
    kill,
    restart: async () => {
      await kill();
      await start();
    },
    freeze: () => child?.kill("SIGSTOP"),
    thaw: () => child?.kill("SIGCONT"),
    async reload(config) {
      await write(config);
      const before = child?.output().length ?? 0;
      const said = () => child?.output().slice(before) ?? "";
      child?.kill("SIGHUP");
      await until("the configuration is read", () => /Reloaded server configuration/.test(said()), {
        timeoutMs: 20_000,
      }).catch((error: unknown) => {
        throw new Error(`nats-server did not read its configuration:\n${child?.output()}`, { cause: error });
      });
    },
    log: () => child?.output() ?? "",
    async [Symbol.asyncDispose]() {
      child?.kill("SIGCONT");
      await kill();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Three that keep a stream together, each reachable by itself. */
export async function startNatsCluster(): Promise<
  AsyncDisposable & { readonly servers: readonly NatsServerProcess[] }
> {
  const ports = [await freePort(), await freePort(), await freePort()];
  const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(", ");
  const servers = await Promise.all(
    ports.map((port, at) =>
      startNats({
        config: `server_name: "n${at}"\ncluster { name: "c", listen: "127.0.0.1:${port}", routes: [ ${routes} ] }`,
      }),
    ),
  );
  return {
    servers,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}

/** A private authority and certificates it signed. */
export interface Certificates extends AsyncDisposable {
  readonly ca: string;
  /** Made out to localhost and 127.0.0.1. */
  readonly server: { readonly cert: string; readonly key: string };
  /** Signed too, but made out to another host. */
  readonly other: { readonly cert: string; readonly key: string };
}

export async function makeCertificates(): Promise<Certificates> {
  const directory = await temporaryDirectory();
  const openssl = async (...args: string[]) => {
    const made = await runProcess("openssl", args, { cwd: directory.path });
    if (made.code !== 0) throw new Error(`openssl ${args[0]}: ${made.stderr}`);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await openssl(
    "req",
    "-x509",
    ...key,
    "-days",
    "2",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=private",
  );
  const sign = async (name: string, altNames: string) => {
    await openssl(
      "req",
      "-x509",
      ...key,
      "-days",
      "2",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.pem`,
      "-subj",
      `/CN=${name}`,
      "-addext",
      `subjectAltName=${altNames}`,
      "-addext",
      "basicConstraints=critical,CA:FALSE",
    );
    return { cert: directory.file(`${name}.pem`), key: directory.file(`${name}.key`) };
  };
  return {
    ca: directory.file("ca.pem"),
    server: await sign("server", "DNS:localhost,IP:127.0.0.1"),
    other: await sign("other", "DNS:elsewhere.example"),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

/** The part of the library of NATS keys that is used here. */
interface KeyPair {
  getPublicKey(): string;
  getSeed(): Uint8Array;
  sign(input: Uint8Array): Uint8Array;
}
interface Keys {
  createOperator(): KeyPair;
  createAccount(): KeyPair;
  createUser(): KeyPair;
}

/** Comes with the client library, which needs it itself. */
const keys = (): Keys => createRequire(createRequire(import.meta.url).resolve("nats"))("nkeys.js") as Keys;

/** A user that shows a key: its seed for the client, its public key for the server. */
export function makeNkey(): { readonly seed: string; readonly publicKey: string } {
  const user = keys().createUser();
  return { seed: Buffer.from(user.getSeed()).toString(), publicKey: user.getPublicKey() };
}

/** An operator with an account and a user, as `nsc` makes them: a server's configuration and a user's creds file. */
export interface Operator {
  readonly config: string;
  /** The configuration after the user's account was told to trust it no more. */
  readonly revoked: string;
  readonly creds: string;
}

export function makeOperator(): Operator {
  const { createOperator, createAccount, createUser } = keys();
  const [operator, account, system, user] = [
    createOperator(),
    createAccount(),
    createAccount(),
    createUser(),
  ];
  const unlimited = {
    subs: -1,
    data: -1,
    payload: -1,
    imports: -1,
    exports: -1,
    wildcards: true,
    conn: -1,
    leaf: -1,
  };
  const jetstream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const none = { mem_storage: 0, disk_storage: 0, streams: 0, consumer: 0 };
  const jwt = (by: KeyPair, subject: string, name: string, nats: object) => {
    const issuedAt = Math.floor(Date.now() / 1000);
    const claims = {
      jti: `${name}${issuedAt}`,
      iat: issuedAt,
      iss: by.getPublicKey(),
      name,
      sub: subject,
      nats: { version: 2, ...nats },
    };
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part(claims)}`;
    return `${text}.${Buffer.from(by.sign(new TextEncoder().encode(text))).toString("base64url")}`;
  };
  const accountJwt = (revocations: object) =>
    jwt(operator, account.getPublicKey(), "A", {
      type: "account",
      limits: { ...unlimited, ...jetstream },
      default_permissions: { pub: {}, sub: {} },
      revocations,
    });
  const systemJwt = jwt(operator, system.getPublicKey(), "SYS", {
    type: "account",
    limits: { ...unlimited, ...none },
    default_permissions: { pub: {}, sub: {} },
  });
  const userJwt = jwt(account, user.getPublicKey(), "U", {
    type: "user",
    pub: {},
    sub: {},
    subs: -1,
    data: -1,
    payload: -1,
  });
  // One for both configurations: a server that is told of another operator wants to be started anew.
  const operatorJwt = jwt(operator, operator.getPublicKey(), "OP", { type: "operator" });
  const config = (revocations: object) =>
    [
      `operator: "${operatorJwt}"`,
      `system_account: ${system.getPublicKey()}`,
      "resolver: MEMORY",
      `resolver_preload: { ${account.getPublicKey()}: "${accountJwt(revocations)}", ${system.getPublicKey()}: "${systemJwt}" }`,
    ].join("\n");
  return {
    config: config({}),
    revoked: config({ [user.getPublicKey()]: Math.floor(Date.now() / 1000) + 60 }),
    creds: [
      "-----BEGIN NATS USER JWT-----",
      userJwt,
      "------END NATS USER JWT------",
      "",
      "-----BEGIN USER NKEY SEED-----",
      Buffer.from(user.getSeed()).toString(),
      "------END USER NKEY SEED------",
      "",
    ].join("\n"),
  };
}
