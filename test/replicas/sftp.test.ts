// The SFTP store on Debian's sshd: the contract, and what is peculiar to it. Bad days are in sftp-bad-days.test.ts.
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join, relative } from "node:path";
import { after, suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { conformance } from "@pageferry/functions/conformance";
import { openStore } from "@pageferry/functions/stores/open";
import { type SftpStoreOptions, sftpStore } from "@pageferry/functions/stores/sftp";
import { runProcess } from "../processes.ts";
import { fingerprint, type Sshd, type SshdOptions, startSshd, withoutSshd } from "../servers/sshd.ts";
import { quantile } from "../temporary.ts";

const skip = withoutSshd();
const skipPassword =
  skip !== false ? skip : process.geteuid?.() === 0 ? false : "sshd reads passwords only as root";
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

/** A server for the whole file, started by the first test that needs it. */
function sharedServer(options: SshdOptions = {}): () => Promise<Sshd> {
  let started: Promise<Sshd> | undefined;
  after(async () => (await started)?.[Symbol.asyncDispose]());
  return () => (started ??= startSshd(options));
}

const server = sharedServer();

/** How to log in with the key, to an empty place of the test's own. */
function loginTo(sshd: Sshd, path = join(sshd.directory, randomUUID())) {
  const { host, port, user, keyPath, hostKey } = sshd;
  return { host, port, user, keyPath, hostKey, path } satisfies SftpStoreOptions;
}

/** A store of a test, closed and removed when it ends. */
function storeFor(t: TestContext, options: SftpStoreOptions) {
  const store = sftpStore(options);
  t.after(async () => {
    await store.close();
    if (options.path.startsWith("/")) await rm(options.path, { recursive: true, force: true });
  });
  return store;
}

function conformanceOn(
  name: string,
  start: () => Promise<Sshd>,
  sizes: { manyObjects?: number; largeBytes?: number } = {},
) {
  conformance(name, {
    ...sizes,
    open: async () => {
      const options = loginTo(await start());
      const store = sftpStore(options);
      const dispose = async () => {
        await store.close();
        await rm(options.path, { recursive: true, force: true });
      };
      return { ...store, [Symbol.asyncDispose]: dispose };
    },
  });
}

if (skip === false) {
  conformanceOn("SFTP", server);
  // Neither hard links, nor fsync, nor a word on the room that is left: what a plain SFTP server has.
  const plain = sharedServer({ sftp: "-P hardlink,fsync,statvfs" });
  conformanceOn("plain SFTP", plain, { manyObjects: 200, largeBytes: 8_000_000 });
} else {
  test("the SFTP store keeps the contract of stores", { skip }, () => undefined);
}

/** Asserts a coded error that nowhere, however deep, holds a secret. */
async function refused(
  work: Promise<unknown>,
  code: string,
  secrets: readonly string[] = [],
): Promise<Error> {
  const error = await work.then(
    () => assert.fail("it was not refused"),
    (reason: unknown) => reason as Error,
  );
  assert.equal((error as Error & { readonly code?: string }).code, code, inspect(error));
  for (const secret of secrets) assert.ok(!inspect(error, { depth: 20 }).includes(secret));
  return error;
}

suite("where an SFTP store lies:", { skip }, () => {
  test("objects are files of mode 0600 in directories of mode 0700, and nothing else is there", async (t) => {
    const options = loginTo(await server());
    const store = storeFor(t, options);

    await store.put("a/b/c", text("x"));
    await store.replace("a/needs.json", text("{}"));

    assert.equal((await stat(join(options.path, "a/b/c"))).mode & 0o777, 0o600);
    assert.equal((await stat(join(options.path, "a/needs.json"))).mode & 0o777, 0o600);
    for (const directory of ["a/b", "a", "."]) {
      assert.equal((await stat(join(options.path, directory))).mode & 0o777, 0o700);
    }
    assert.deepEqual((await readdir(options.path, { recursive: true })).sort(), [
      "a",
      "a/b",
      "a/b/c",
      "a/needs.json",
    ]);
  });

  test("a path may be absolute, or relative to where the login begins", async (t) => {
    const sshd = await server();
    const name = randomUUID();
    for (const path of [name, `~/${name}/tilde`, `/~/${name}/url`]) {
      const store = storeFor(t, { ...loginTo(sshd), path });
      await store.put("a/b", text("x"));
      assert.deepEqual(await Array.fromAsync(store.list("")).then((all) => all.at(0)?.name), "a/b", path);
    }
    t.after(() => rm(join(sshd.home, name), { recursive: true, force: true }));

    for (const path of ["a/b", "tilde/a/b", "url/a/b"]) {
      assert.equal(await readFile(join(sshd.home, name, path), "utf8"), "x");
    }
    assert.deepEqual(
      await Array.fromAsync(storeFor(t, { ...loginTo(sshd), path: "none" }).list("")),
      [],
      relative("/", name),
    );
  });

  test("a symbolic link is not followed, neither as an object nor on the way to one", async (t) => {
    const options = loginTo(await server());
    const outside = join(options.path, "..", `${randomUUID()}-outside`);
    const store = storeFor(t, options);
    await store.put("first", text("x"));
    await mkdir(outside);
    t.after(() => rm(outside, { recursive: true }));
    await writeFile(join(outside, "secret"), "secret");
    await symlink(outside, join(options.path, "way"));
    await symlink(join(outside, "secret"), join(options.path, "link"));

    await refused(store.get("way/secret"), "bad-config");
    await refused(store.get("link"), "bad-config");
    await refused(store.put("way/new", text("x")), "bad-config");
    await refused(store.put("link", text("x")), "conflict");
    await refused(store.remove(["way/secret"]), "bad-config");

    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "first", size: 1 }]);
    assert.deepEqual(await readdir(outside), ["secret"]);
  });

  test("what becomes shorter while it is compared is a conflict, and what comes is not called corrupt", async (t) => {
    const options = loginTo(await server());
    const store = storeFor(t, options);
    const bytes = new Uint8Array(600_000);
    await store.put("a", bytes);
    const body = {
      size: bytes.length,
      async *open() {
        await truncate(join(options.path, "a"), 128 * 1024);
        yield bytes;
      },
    };

    await refused(store.put("a", body), "conflict");
  });

  test("a directory that may not be written is unauthorized, and a part of a name that is too long is bad-name", async (t) => {
    const sshd = await server();
    const options = loginTo(sshd);
    await mkdir(options.path, { mode: 0o500 });
    const owner = (await stat(sshd.directory)).uid;
    await chown(options.path, owner, 65_534);
    const store = storeFor(t, options);

    await refused(store.put("a", text("x")), "unauthorized");
    await refused(store.put("a/b", text("x")), "unauthorized");
    await chmod(options.path, 0o700);
    await refused(store.put(`a/${"n".repeat(300)}`, text("x")), "bad-name");
    assert.equal(await store.put("a/b", text("x")), "stored");
  });

  test("a pipe is no object, and does not hold the session up", async (t) => {
    const options = loginTo(await server());
    const store = storeFor(t, options);
    await store.put("a", text("x"));
    await runProcess("mkfifo", [join(options.path, "pipe")]);

    await refused(store.get("pipe"), "not-found");
    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a", size: 1 }]);
  });
});

suite("publishing over SFTP:", { skip }, () => {
  for (const [what, options] of [
    ["with hard links", {}],
    ["without hard links", { sftp: "-P hardlink" }],
  ] as const) {
    test(`a name never shows a part of its object, ${what}`, async (t) => {
      await using sshd = await startSshd(options);
      const login = loginTo(sshd);
      const store = storeFor(t, login);
      const seen = new Set<string>();
      const body = {
        size: 3_000_000,
        async *open() {
          for (let part = 0; part < 30; part++) {
            yield new Uint8Array(100_000);
            for (const name of await readdir(join(login.path, "a"))) {
              if (name.startsWith(".pageferry-")) seen.add("temporary");
              else seen.add(name);
            }
            seen.add(JSON.stringify(await Array.fromAsync(store.list(""))));
          }
        },
      };

      assert.equal(await store.put("a/large", body), "stored");

      assert.deepEqual(seen, new Set(["temporary", "[]"]));
      assert.equal((await stat(join(login.path, "a/large"))).size, 3_000_000);
      assert.deepEqual(await readdir(join(login.path, "a")), ["large"]);
    });
  }

  test("makes an object durable before it has its name, and the name before it is stored; only what may change is renamed over", async (t) => {
    await using sshd = await startSshd({ isRecorded: true });
    const { path, ...login } = loginTo(sshd);
    const store = storeFor(t, { ...login, path });
    await store.put("a/first", text("x"));
    const before = (await sshd.requests()).length;

    await store.put("a/b", text("x"));
    await store.replace("a/needs.json", text("{}"));

    const asked = (await sshd.requests())
      .slice(before)
      .map((line) => line.replaceAll(path, "").replace(/\.pageferry-[^"]*\.tmp/g, "TEMPORARY"))
      .filter((line) => /^(fsync|hardlink|remove|rename|posix-rename)/.test(line));
    assert.deepEqual(asked, [
      'fsync "/a/TEMPORARY"',
      'hardlink old "/a/TEMPORARY" new "/a/b"',
      'remove name "/a/TEMPORARY"',
      'fsync "/a"',
      'fsync "/a/TEMPORARY"',
      'posix-rename old "/a/TEMPORARY" new "/a/needs.json"',
      'fsync "/a"',
    ]);
  });

  test("without posix-rename a name is still replaced, by removing the old one first", async (t) => {
    await using sshd = await startSshd({ sftp: "-P posix-rename" });
    const store = storeFor(t, loginTo(sshd));

    await store.replace("needs.json", text("old"));
    await store.replace("needs.json", text("new"));

    assert.equal(Buffer.concat(await Array.fromAsync(await store.get("needs.json"))).toString(), "new");
  });

  test("what a killed writer left is never listed, and swept by the owner once it is an hour old", async (t) => {
    const options = loginTo(await server());
    const store = storeFor(t, options);
    await store.put("a/b", text("x"));
    const [old, young] = [
      join(options.path, "a/.pageferry-1-00.tmp"),
      join(options.path, "a/.pageferry-2-00.tmp"),
    ];
    for (const leftover of [old, young]) await writeFile(leftover, "half");
    const seventyMinutesAgo = Date.now() / 1000 - 70 * 60;
    await utimes(old, seventyMinutesAgo, seventyMinutesAgo);

    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a/b", size: 1 }]);
    await storeFor(t, options).put("a/c", text("x"));
    assert.equal((await readdir(join(options.path, "a"))).length, 4, "another writer leaves them alone");
    assert.equal(await storeFor(t, { ...options, sweep: true }).put("a/d", text("x")), "stored");
    assert.deepEqual((await readdir(join(options.path, "a"))).sort(), [".pageferry-2-00.tmp", "b", "c", "d"]);

    const inAnHour = { ...options, sweep: true, now: () => Date.now() + 61 * 60 * 1000 };
    await Array.fromAsync(storeFor(t, inAnHour).list(""));
    assert.deepEqual((await readdir(join(options.path, "a"))).sort(), ["b", "c", "d"]);
  });

  test("an upload of its own is never swept, whatever the server's clock says", async (t) => {
    const options = loginTo(await server());
    const store = storeFor(t, { ...options, sweep: true, now: () => Date.now() + 2 * 60 * 60 * 1000 });
    const body = {
      size: 200_000,
      async *open() {
        yield new Uint8Array(150_000);
        await Array.fromAsync(store.list(""));
        yield new Uint8Array(50_000);
      },
    };

    assert.equal(await store.put("a/b", body), "stored");
  });

  test("small puts do not wait for one another's acknowledgements", async (t) => {
    const store = storeFor(t, loginTo(await server()));
    const tookMs: number[] = [];
    for (let index = 0; index < 200; index++) {
      const before = performance.now();
      await store.put(`a/${index}`, new Uint8Array(8192));
      tookMs.push(performance.now() - before);
    }
    t.diagnostic(`median ${quantile(tookMs, 0.5).toFixed(1)} ms`);

    // With Nagle's algorithm each of the several requests of a put waits 40 ms, on the quietest machine.
    assert.ok(quantile(tookMs, 0.1) < 40, `${quantile(tookMs, 0.1)} ms`);
  });
});

suite("reading over SFTP:", { skip }, () => {
  test("a large object goes through while both sides change their keys again and again", async (t) => {
    await using sshd = await startSshd({ config: ["RekeyLimit 2M"] });
    const store = storeFor(t, loginTo(sshd));
    const bytes = randomBytes(16_000_000);
    const body = {
      size: bytes.length,
      async *open() {
        for (let at = 0; at < bytes.length; at += 1_000_000) yield bytes.subarray(at, at + 1_000_000);
      },
    };

    assert.equal(await store.put("large", body), "stored");

    const read = Buffer.concat(await Array.fromAsync(await store.get("large")));
    assert.equal(Buffer.compare(read, bytes), 0);
    assert.equal(await store.put("large", body), "present");
  });

  test("files of streams that are cancelled, aborted or left are closed on the server", async (t) => {
    const sshd = await server();
    const store = storeFor(t, loginTo(sshd));
    await store.put("large", new Uint8Array(2_000_000));
    const openNow = async () => {
      let count = 0;
      for (const pid of await sshd.sessions()) {
        for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
          const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
          if (target.endsWith("/large")) count += 1;
        }
      }
      return count;
    };

    const held = await store.get("large");
    assert.equal(await openNow(), 1);
    await held.cancel();
    for (let round = 0; round < 30; round++) {
      const reader = (await store.get("large")).getReader();
      await reader.read();
      await reader.cancel();
      const abort = new AbortController();
      await store.get("large", { signal: abort.signal });
      abort.abort();
    }
    await store.get("large", { length: 100 });
    await Array.fromAsync(store.list(""));

    assert.equal(await openNow(), 0);
  });

  test("a process that forgets to close ends all the same when it closes its store", async () => {
    const sshd = await server();
    const login = loginTo(sshd);
    const script = `
      import { sftpStore } from "@pageferry/functions/stores/sftp";
      const store = sftpStore(${JSON.stringify(login)});
      await store.put("a", new Uint8Array(1_000_000));
      await store.get("a");
      await store.close();`;

    const ended = await runProcess(
      process.execPath,
      [
        "-C",
        "@pageferry/source",
        "--disable-warning=ExperimentalWarning",
        "--input-type=module",
        "-e",
        script,
      ],
      { cwd: import.meta.dirname, timeoutMs: 30_000 },
    );

    assert.deepEqual([ended.code, ended.stderr], [0, ""]);
  });
});

suite("the host key of an SFTP server:", { skip }, () => {
  test("that is unknown is refused, and the message says what to write where", async (t) => {
    const { hostKey, ...options } = loginTo(await server());
    const store = storeFor(t, { ...options, knownHosts: "/dev/null" });

    const error = await refused(store.put("a", text("x")), "unauthorized");

    assert.ok(error.message.includes(`ssh-ed25519 ${hostKey}`), error.message);
    assert.ok(error.message.includes(`hostKey: "${hostKey}"`), error.message);
    assert.doesNotMatch((await server()).log().split("\n").slice(-3).join("\n"), /Accepted/);
  });

  test("that is not the one in hostKey is refused", async (t) => {
    const sshd = await server();
    const other = await fingerprint(sshd.file("other.pub"));
    const store = storeFor(t, { ...loginTo(sshd), hostKey: other });

    const error = await refused(store.get("a"), "unauthorized");

    assert.ok(error.message.includes(other) && error.message.includes(sshd.hostKey), error.message);
  });

  test("that changed is refused, until hostKey says so, too", async (t) => {
    await using sshd = await startSshd();
    const options = loginTo(sshd);
    const store = storeFor(t, options);
    await store.put("a", text("x"));

    await sshd.restart({ newHostKeys: true });

    await refused(store.put("b", text("x")), "unauthorized");
    const told = storeFor(t, { ...options, hostKey: `${options.hostKey}, ${sshd.hostKey}` });
    assert.equal(await told.put("b", text("x")), "stored");
  });

  test("is taken from known_hosts, plain and hashed, and refused where that has another or revokes it", async (t) => {
    const sshd = await server();
    const { hostKey, ...options } = loginTo(sshd);
    const [key, other] = [
      await sshd.publicHostKey(),
      (await readFile(sshd.file("other.pub"), "utf8")).trim(),
    ];
    const knownHosts = sshd.file("known_hosts");
    const at = `[127.0.0.1]:${sshd.port}`;
    const outcome = async (lines: string, isHashed = false): Promise<string> => {
      await writeFile(knownHosts, `# a comment\n\n${lines}\n`);
      if (isHashed) await runProcess("ssh-keygen", ["-H", "-f", knownHosts]);
      if (isHashed) assert.match(await readFile(knownHosts, "utf8"), /^\|1\|/m);
      const store = storeFor(t, { ...options, knownHosts });
      return store.put("a", text("x")).catch((error: { code: string }) => error.code);
    };

    assert.equal(await outcome(`${at} ${key}`), "stored");
    assert.equal(await outcome(`${at} ${key} a comment`, true), "present");
    assert.equal(await outcome(`elsewhere,${at} ${key}`, true), "present");
    assert.equal(await outcome(`${at} ${other}\n${at} ${key}`), "present");
    assert.equal(await outcome(`127.0.0.1 ${key}`), "present");
    assert.equal(await outcome(`${at} ${other}`), "unauthorized");
    assert.equal(await outcome(`${at} ${other}`, true), "unauthorized");
    assert.equal(await outcome(`@revoked * ${key}\n${at} ${key}`), "unauthorized");
    assert.equal(await outcome(`@cert-authority * ${key}`), "unauthorized");
    assert.equal(await outcome(`elsewhere ${key}`), "unauthorized");
  });

  test("may be of another kind than the one a server shows first", async (t) => {
    await using sshd = await startSshd({ hostKeys: ["ed25519", "ecdsa", "rsa"] });
    const { hostKey, ...options } = loginTo(sshd);
    const knownHosts = sshd.file("known_hosts");
    await writeFile(knownHosts, `[127.0.0.1]:${sshd.port} ${await sshd.publicHostKey("ecdsa")}\n`);

    const rsa = storeFor(t, { ...options, hostKey: await fingerprint(sshd.file("host_rsa.pub")) });
    assert.equal(await rsa.put("a", text("x")), "stored");
    const whole = storeFor(t, { ...options, hostKey: await sshd.publicHostKey("rsa") });
    assert.equal(await whole.put("a", text("x")), "present");
    const known = storeFor(t, { ...options, knownHosts });
    assert.equal(await known.put("a", text("x")), "present");
    const wrong = storeFor(t, { ...options, hostKey: await fingerprint(sshd.file("other.pub")) });
    await refused(wrong.put("a", text("x")), "unauthorized");
  });
});

suite("logging in to an SFTP server", { skip }, () => {
  test("works with a key that has a passphrase, and with no other passphrase", async (t) => {
    const sshd = await server();
    const options = { ...loginTo(sshd), keyPath: sshd.lockedKeyPath };

    assert.equal(
      await storeFor(t, { ...options, passphrase: sshd.passphrase }).put("a", text("x")),
      "stored",
    );
    await refused(storeFor(t, { ...options, passphrase: "not-the-one" }).get("a"), "unauthorized", [
      "not-the-one",
    ]);
    const error = await refused(storeFor(t, options).get("a"), "unauthorized");
    assert.match(error.message, /passphrase/);
  });

  test("with a key that the server does not know, or that is none, is unauthorized", async (t) => {
    const sshd = await server();
    const options = loginTo(sshd);

    await refused(storeFor(t, { ...options, keyPath: sshd.file("other") }).get("a"), "unauthorized");
    await refused(storeFor(t, { ...options, keyPath: sshd.file("other.pub") }).get("a"), "unauthorized");
    await refused(storeFor(t, { ...options, keyPath: sshd.file("none") }).get("a"), "unauthorized");
    await refused(storeFor(t, { ...options, user: "nobody-here" }).get("a"), "unauthorized");
  });

  test("without a password and without a key is a mistake in the configuration", async () => {
    const { keyPath, ...options } = loginTo(await server());

    assert.throws(() => sftpStore(options), { code: "bad-config" });
    assert.ok(keyPath);
  });

  test("of a server that is not there is unavailable", async (t) => {
    const sshd = await server();

    await refused(storeFor(t, { ...loginTo(sshd), port: 1 }).get("a"), "unavailable");
    await refused(
      storeFor(t, { ...loginTo(sshd), host: "nowhere.invalid" })
        .list("")
        [Symbol.asyncIterator]()
        .next(),
      "unavailable",
    );
  });
});

suite("an SFTP server that takes passwords", { skip: skipPassword }, () => {
  const passwords = sharedServer({ login: "password" });

  test("is opened by a URL, whose name holds no secret, and refuses a wrong password without repeating it", async (t) => {
    const sshd = await passwords();
    const { user, password, port, hostKey } = sshd;
    const path = `/~/${randomUUID()}`;
    const url = (secret: string) => `sftp://${user}:${secret}@127.0.0.1:${port}${path}?host-key=${hostKey}`;
    const store = await openStore(url(password), { isOwner: true });
    t.after(() => store.close());

    assert.equal(await store.put("a/b", text("x")), "stored");

    assert.equal(store.name, `sftp://127.0.0.1:${port}${path}`);
    assert.equal(await readFile(join(sshd.home, path.slice(3), "a/b"), "utf8"), "x");
    const wrong = await openStore(url("not-the-password"));
    t.after(() => wrong.close());
    await refused(wrong.put("a/c", text("x")), "unauthorized", ["not-the-password", password]);
    await sleep(0);
  });
});
