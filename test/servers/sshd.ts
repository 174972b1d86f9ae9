// Debian's sshd for the tests: its own keys, a free port of the loopback, a directory of its own for what it stores. As
// an unprivileged user it takes keys; as root, with a user made for it, passwords.
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { type RunningProcess, runProcess, startProcess } from "../processes.ts";
import { freePort, type TemporaryDirectory, temporaryDirectory, until } from "../temporary.ts";
import { skippedWithout } from "./server.ts";

const sshd = "/usr/sbin/sshd";

/** Why its tests are skipped on this machine; false where they run. */
export function withoutSshd(): string | false {
  return skippedWithout(sshd);
}

/** How the server is set up. */
export interface SshdOptions {
  /** `key` runs it as an unprivileged user; `password` needs root. Default `key`. */
  readonly login?: "key" | "password";
  /** Arguments of internal-sftp, such as `-P hardlink` for a server that cannot link. */
  readonly sftp?: string;
  /** Keep a record of what sftp-server was asked: `requests`. */
  readonly isRecorded?: boolean;
  /** Further lines of sshd_config. */
  readonly config?: readonly string[];
  /** The kinds of its host keys. Default ed25519 alone. */
  readonly hostKeys?: readonly ("ed25519" | "ecdsa" | "rsa")[];
  /** Where its files go; the caller's to remove. Default a directory in memory, where an fsync costs nothing. */
  readonly directory?: string;
}

/** A server that runs, or did before `kill`. Leaving its scope ends it and removes what it stored. */
export interface Sshd extends AsyncDisposable {
  readonly host: "127.0.0.1";
  readonly port: number;
  readonly user: string;
  /** A private key that it takes, and the same with a passphrase. */
  readonly keyPath: string;
  readonly lockedKeyPath: string;
  readonly passphrase: string;
  /** What it takes with `login: "password"`. */
  readonly password: string;
  /** `SHA256:…` of its first host key. */
  readonly hostKey: string;
  /** A place for objects, on the server; the tests see it as it is. */
  readonly directory: string;
  /** Where a login begins: what relative paths are relative to. */
  readonly home: string;
  /** A file in its own temporary directory. */
  file(name: string): string;
  /** Its public host key of a kind, as known_hosts has it: `ssh-ed25519 AAAA…`. */
  publicHostKey(kind?: string): Promise<string>;
  /** Ends it and every session, at once. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same keys, or with new host keys. */
  restart(options?: { readonly newHostKeys?: boolean }): Promise<void>;
  /** The processes of its sessions. */
  sessions(): Promise<readonly number[]>;
  /** Ends every session; the server goes on. */
  killSessions(): Promise<number>;
  /** Stops it and every session as a machine that hangs, until `thaw`. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Takes the keys that `authorized_keys` holds; without text none. */
  authorize(keys?: string): Promise<void>;
  readonly authorizedKeys: string;
  /** With `isRecorded`: what the sessions did, line by line, such as `fsync "/dev/shm/…"`. */
  requests(): Promise<string[]>;
  log(): string;
}

/** Starts one and waits until it answers. */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const isRoot = process.geteuid?.() === 0;
  const login = options.login ?? "key";
  if (login === "password" && !isRoot) throw new Error("sshd reads passwords only as root");
  await using undo = new AsyncDisposableStack();
  const base = undo.use(await temporaryDirectory("/dev/shm"));
  const account = await accountFor(isRoot, base);
  undo.defer(account.remove);
  const directory = options.directory ?? base.file("objects");
  const keys = await makeKeys(base, options.hostKeys ?? ["ed25519"]);
  await mkdir(directory, { recursive: true });
  await handOver(directory, account.id);
  await handOver(base.path, account.id);
  for (const name of await readdir(base.path)) await handOver(base.file(name), account.id);
  if (isRoot && login === "password") await mkdir("/run/sshd", { recursive: true });

  const port = await freePort();
  const start = async (): Promise<RunningProcess> => {
    await writeFile(base.file("sshd_config"), configOf(options, login, port, base));
    const args = [sshd, "-D", "-e", "-f", base.file("sshd_config")];
    const as =
      login === "key" && isRoot
        ? ["--reuid", account.described.user, "--regid", "nogroup", "--clear-groups"]
        : [];
    const started = startProcess("setpriv", [...as, ...args]);
    await until("sshd answers", () => answers(port), { timeoutMs: 20_000, everyMs: 10 }).catch(
      (error: unknown) => {
        throw new Error(`sshd does not answer:\n${started.output()}`, { cause: error });
      },
    );
    return started;
  };
  let server = await start();
  let earlier = "";

  const signalAll = async (signal: NodeJS.Signals, isServerToo: boolean): Promise<number> => {
    const sessions = await descendants(server.pid);
    for (const pid of isServerToo ? [server.pid, ...sessions] : sessions) send(pid, signal);
    return sessions.length;
  };
  const kill = async () => {
    await signalAll("SIGKILL", true);
    await server.ended;
  };

  const all = undo.move();
  return {
    ...account.described,
    host: "127.0.0.1",
    port,
    directory,
    keyPath: base.file("user"),
    lockedKeyPath: base.file("locked"),
    passphrase: keys.passphrase,
    get hostKey() {
      return keys.fingerprint;
    },
    authorizedKeys: keys.authorized,
    file: (name) => base.file(name),
    publicHostKey: (kind = "ed25519") => publicKey(base.file(`host_${kind}.pub`)),
    kill,
    async restart({ newHostKeys = false } = {}) {
      if (server.isRunning()) await kill();
      earlier += server.output();
      if (newHostKeys) {
        await makeHostKeys(base, keys, options.hostKeys ?? ["ed25519"]);
        for (const name of await readdir(base.path)) await handOver(base.file(name), account.id);
      }
      server = await start();
    },
    sessions: () => descendants(server.pid),
    killSessions: () => signalAll("SIGKILL", false),
    async freeze() {
      await signalAll("SIGSTOP", true);
    },
    async thaw() {
      await signalAll("SIGCONT", true);
    },
    authorize: (text = "") => writeFile(base.file("authorized_keys"), text),
    async requests() {
      const lines = (await readFile(base.file("requests"), "utf8")).split("\n");
      return lines.filter((line) => line !== "").map((line) => line.trim());
    },
    log: () => earlier + server.output(),
    async [Symbol.asyncDispose]() {
      await signalAll("SIGCONT", true);
      await kill();
      await all.disposeAsync();
    },
  };
}

interface Account {
  readonly id: number | undefined;
  readonly described: { readonly user: string; readonly password: string; readonly home: string };
  remove(): Promise<void>;
}

/** Whom the server logs in: this user, or where this is root one made for the time of the test. */
async function accountFor(isRoot: boolean, base: TemporaryDirectory): Promise<Account> {
  const password = randomBytes(9).toString("base64url");
  if (!isRoot) {
    const { username, homedir } = userInfo();
    return {
      id: undefined,
      described: { user: username, password, home: homedir },
      remove: async () => undefined,
    };
  }
  await removeStaleAccounts();
  const user = `pageferry-${process.pid}-${randomBytes(4).toString("hex")}`;
  const home = base.file("home");
  await mkdir(home);
  await must("useradd", ["--no-create-home", "--home-dir", home, "--shell", "/bin/sh", user]);
  // Also where it logs in by key: sshd takes an account without a password for a locked one.
  await must("sh", ["-c", 'echo "$1:$2" | chpasswd', "sh", user, password]);
  const id = Number((await must("id", ["-u", user])).trim());
  return {
    id,
    described: { user, password, home },
    remove: () => removeAccount(user),
  };
}

/** Also where a session of his is not quite gone yet. */
async function removeAccount(user: string): Promise<void> {
  await runProcess("userdel", ["--force", user]);
}

/** A test that was killed could not remove its user, nor what it had in memory. */
async function removeStaleAccounts(): Promise<void> {
  for (const line of (await readFile("/etc/passwd", "utf8")).split("\n")) {
    const [, user = "", pid, base = ""] =
      /^(pageferry-(\d+)-[0-9a-f]{8}):.*:(\/dev\/shm\/pageferry-test-\w+)\/home:/.exec(line) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await removeAccount(user);
    await rm(base, { recursive: true, force: true });
  }
}

interface Keys {
  fingerprint: string;
  readonly passphrase: string;
  readonly authorized: string;
}

async function makeKeys(base: TemporaryDirectory, kinds: readonly string[]): Promise<Keys> {
  const passphrase = randomBytes(9).toString("base64url");
  await makeKey(base.file("user"), "ed25519", "");
  await makeKey(base.file("locked"), "ed25519", passphrase);
  await makeKey(base.file("other"), "ed25519", "");
  const authorized = `${await publicKey(base.file("user.pub"))}\n${await publicKey(base.file("locked.pub"))}\n`;
  await writeFile(base.file("authorized_keys"), authorized);
  const keys = { fingerprint: "", passphrase, authorized };
  await makeHostKeys(base, keys, kinds);
  return keys;
}

async function makeHostKeys(base: TemporaryDirectory, keys: Keys, kinds: readonly string[]): Promise<void> {
  for (const kind of kinds) await makeKey(base.file(`host_${kind}`), kind, "");
  keys.fingerprint = await fingerprint(base.file(`host_${kinds[0]}.pub`));
}

async function makeKey(path: string, kind: string, passphrase: string): Promise<void> {
  await runProcess("rm", ["-f", path, `${path}.pub`]);
  await must("ssh-keygen", [
    "-q",
    "-t",
    kind,
    ...(kind === "rsa" ? ["-b", "2048"] : []),
    "-a",
    "1",
    "-C",
    "test",
    "-N",
    passphrase,
    "-f",
    path,
  ]);
}

/** What `ssh-keygen -l` says of a public key. */
export async function fingerprint(path: string): Promise<string> {
  return /SHA256:\S+/.exec(await must("ssh-keygen", ["-lf", path]))?.[0] ?? "";
}

async function publicKey(path: string): Promise<string> {
  return (await readFile(path, "utf8")).split(" ").slice(0, 2).join(" ");
}

function configOf(options: SshdOptions, login: string, port: number, base: TemporaryDirectory): string {
  return [
    // The first of two lines with one key counts.
    ...(options.config ?? []),
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    ...(options.hostKeys ?? ["ed25519"]).map((kind) => `HostKey ${base.file(`host_${kind}`)}`),
    "PidFile none",
    `AuthorizedKeysFile ${base.file("authorized_keys")}`,
    "StrictModes no",
    "UsePAM no",
    "MaxStartups 100",
    `PasswordAuthentication ${login === "password" ? "yes" : "no"}`,
    `PubkeyAuthentication ${login === "password" ? "no" : "yes"}`,
    "KbdInteractiveAuthentication no",
    options.isRecorded === true
      ? `Subsystem sftp /usr/lib/openssh/sftp-server -e -l VERBOSE 2>>${base.file("requests")}`
      : `Subsystem sftp internal-sftp ${options.sftp ?? ""}`,
    "LogLevel VERBOSE",
    "",
  ].join("\n");
}

/** Runs a program that must succeed, and returns what it printed. */
async function must(command: string, args: readonly string[]): Promise<string> {
  const result = await runProcess(command, args);
  if (result.code !== 0) throw new Error(`${command} ${args[0]}: ${result.stderr.trim()}`);
  return result.stdout;
}

async function handOver(path: string, id: number | undefined): Promise<void> {
  if (id === undefined) return;
  await chown(path, id, 65_534);
  if (path.endsWith(".pub")) await chmod(path, 0o644);
}

async function answers(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host: "127.0.0.1", port });
  socket.once("data", () => resolve(true));
  socket.once("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** Every process below one, from /proc: sessions survive their listener, so they are found before it ends. */
async function descendants(parent: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    const [, ppid] = /\) \S (\d+)/.exec(stat) ?? [];
    if (ppid !== undefined) parents.set(Number(name), Number(ppid));
  }
  const found = [parent];
  for (const pid of found) {
    for (const [child, ppid] of parents) if (ppid === pid) found.push(child);
  }
  return found.slice(1);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
