import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ProfileName, parseDatabaseName, txId } from "@pageferry/format";
import { epochMs, historyOf } from "../../testing/history.ts";
import { type LocalHost, localHost } from "../hosts/local.ts";
import type { Scope } from "../scopes.ts";
import { createToken, revokeToken } from "../token-files.ts";

/** What no page may hold as it is. */
const evil = `<script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e\u0000'`;

/** How it must stand there. */
const shownEvil =
  /&lt;script&gt;alert\(1\)&lt;\/script&gt;&quot;&gt;&lt;img src=x onerror=alert\(2\)&gt;\\u202e\\u0000&#39;/;

suite("the page", () => {
  let directory: string;
  let dataDir: string;
  let nowMs: number;
  let host: LocalHost;
  let url: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-page-"));
    dataDir = join(directory, "data");
    nowMs = epochMs;
    await open();
  });
  afterEach(async () => {
    await host.close({ deadlineMs: 0 });
    await rm(directory, { recursive: true, force: true });
  });

  async function open(
    databases: readonly { name: string; path: string; profile?: ProfileName }[] = [],
    inspect = false,
  ) {
    const listen = { host: "127.0.0.1", port: 0 };
    host = await localHost({ dataDir, listen, databases, inspect }, { now: () => nowMs, settleMs: 50 });
    url = host.url ?? "";
  }

  /** Sends transactions 4 to `last` of a database, and waits until they are stored. */
  async function commit(name: string, last: number, on = "vm") {
    const history = historyOf(Buffer.from(name).toString("hex").slice(0, 12), name, { host: on });
    const items = [
      history.snapshot(4),
      ...Array.from({ length: last - 4 }, (_, at) => history.segment(at + 4, at + 5)),
    ];
    const newest = { newestTxId: txId(last), newestStampMs: epochMs + last * 1000 };
    const more = { database: parseDatabaseName(name), sentAtMs: nowMs, ...newest };
    await host.queue.send(history.envelope(items, more));
    for (const end = Date.now() + 20_000; ; await sleep(20)) {
      if ((await host.status(name)).replicas[0]?.txid === last.toString(16).padStart(16, "0")) return;
      assert.ok(Date.now() < end, `${name} was not stored`);
    }
  }

  const own = { "sec-fetch-site": "same-origin" };
  const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    fetch(`${url}${path}`, { method, headers, redirect: "manual" });
  const post = (path: string, fields: Record<string, string>, headers: Record<string, string> = own) =>
    fetch(`${url}${path}`, {
      method: "POST",
      headers,
      body: new URLSearchParams(fields),
      redirect: "manual",
    });

  /** Signs in; gives the header that a browser would send from then on. */
  async function signIn(token: string): Promise<{ readonly cookie: string }> {
    const answer = await post("/sign-in", { token });
    assert.equal(answer.status, 303, await answer.text());
    return { cookie: answer.headers.get("set-cookie")?.split(";")[0] ?? "" };
  }

  async function tokenOf(scopes: readonly Scope[], databases: "*" | readonly string[] = "*") {
    const made = await createToken(dataDir, { scopes, databases }, nowMs);
    // A host looks again for what is wrong, but not for every guess.
    await sleep(150);
    return made;
  }

  async function textOf(path: string, headers: Record<string, string>, status = 200): Promise<string> {
    const answer = await ask(path, headers);
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    return text;
  }

  test("leads who is not signed in to sign in, and from there back, and shows nothing before", async () => {
    await commit("app", 6);

    for (const [path, to] of [
      ["/", "/sign-in"],
      ["/db/app?from=2026-01-01T00:00", `/sign-in?to=${encodeURIComponent("/db/app?from=2026-01-01T00:00")}`],
      ["/db/absent/restore", `/sign-in?to=${encodeURIComponent("/db/absent/restore")}`],
      ["/db/app/nothing", `/sign-in?to=${encodeURIComponent("/db/app/nothing")}`],
    ] as const) {
      const answer = await ask(path);
      assert.equal(answer.status, 303, path);
      assert.equal(answer.headers.get("location"), to);
      assert.doesNotMatch(await answer.text(), /app/);
    }
    const answer = await post("/sign-in", { token: host.token, to: "/db/app" });
    assert.equal(answer.headers.get("location"), "/db/app");
  });

  test("goes to no other host after signing in", async () => {
    for (const to of [
      "//evil.example/db/",
      "https://evil.example/db/",
      "/\\evil.example",
      "/v1/databases",
      "db/app",
    ]) {
      const answer = await post("/sign-in", { token: host.token, to });
      assert.equal(answer.headers.get("location"), "/", to);
    }
  });

  test("gives a cookie that scripts and other sites do not see, ends by itself, and is not the token", async () => {
    const answer = await post("/sign-in", { token: host.token });
    const cookie = answer.headers.get("set-cookie") ?? "";

    assert.match(cookie, /^pageferry-\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/);
    assert.ok(!cookie.includes(host.token));
    const behindTls = await post("/sign-in", { token: host.token }, { ...own, "x-forwarded-proto": "https" });
    assert.match(behindTls.headers.get("set-cookie") ?? "", /^__Host-pageferry=.*; Secure$/);
  });

  test("may be seen with a session and not with a cookie that is none", async () => {
    const session = await signIn(host.token);

    assert.match(await textOf("/", session), /No database is backed up here yet/);
    for (const cookie of [
      session.cookie.slice(0, -1),
      `${session.cookie.slice(0, -5)}AAAAA`,
      "pageferry-1=x",
    ])
      assert.equal((await ask("/", { cookie })).status, 303);
  });

  test("ends a session when its token is revoked, when it expires, and when somebody signs out", async () => {
    const { token, record } = await tokenOf(["read"]);
    const [revoked, out] = [await signIn(token), await signIn(host.token)];
    await revokeToken(dataDir, record.id);
    await sleep(1100);
    const left = await post("/sign-out", {}, { ...own, ...out });

    assert.equal((await ask("/", revoked)).status, 303);
    assert.equal(left.headers.get("location"), "/sign-in");
    assert.match(left.headers.get("set-cookie") ?? "", /=; .*Max-Age=0/);
    assert.equal((await ask("/", out)).status, 303);
  });

  test("shows a session what its token may see, and offers what it may do", async () => {
    await commit("app", 6);
    await commit("other", 6);
    host.raise({ code: "webhook", message: "of the host", hint: "h" });
    host.raise({ code: "gap", database: "other", message: "of other", hint: "h" });
    const mine = await signIn((await tokenOf(["read"], ["app"])).token);

    const overview = await textOf("/", mine);
    const page = await textOf("/db/app", mine);

    assert.match(overview, /Everything is safe: its replica/);
    assert.doesNotMatch(overview, /other|of the host/);
    assert.doesNotMatch(page, /\/restore|>Pin it</);
    assert.match(await textOf("/db/other", mine, 403), /not for database/);
    assert.match(await textOf("/db/absent", mine, 403), /not for database/);
    assert.match(await textOf("/db/app/restore", mine, 403), /lacks the scope restore/);
    const pin = await post("/db/app/pin", { txid: "06", generation: "a".repeat(16) }, { ...own, ...mine });
    assert.equal(pin.status, 403);
  });

  test("lets in who may restore, and nobody who may only add", async () => {
    await commit("app", 6);
    const restores = await signIn((await tokenOf(["restore"], ["app"])).token);
    const agent = await post("/sign-in", { token: (await tokenOf(["ingest", "needs"], ["app"])).token });

    assert.match(await textOf("/db/app/restore", restores), /pageferry restore -o app-0000000000000006\.db/);
    assert.equal(agent.status, 403);
    assert.match(await agent.text(), /lacks the scope read or restore/);
    assert.equal(agent.headers.get("set-cookie"), null);
  });

  test("opens the API to a session for reading, as its token would", async () => {
    await commit("app", 6);
    const mine = await signIn((await tokenOf(["read"], ["app"])).token);
    const read = await ask("/v1/databases/app", mine);

    assert.equal(read.status, 200);
    assert.equal((await ask("/v1/databases/app/manifest", mine)).status, 403);
    assert.equal((await ask("/v1/databases/app", { ...mine, "sec-fetch-site": "cross-site" })).status, 403);
    const all = await signIn(host.token);
    assert.equal((await ask("/v1/databases/app/compact", { ...all, ...own }, "POST")).status, 401);
    assert.equal((await ask("/v1/databases/app/pins?txid=06", { ...all, ...own }, "DELETE")).status, 401);
  });

  test("takes no form that another site sent with its cookie", async () => {
    await commit("app", 6);
    const session = await signIn(host.token);
    const generation = (await host.status("app")).generation ?? "";
    const fields = { txid: "0000000000000006", generation };
    const from = (headers: Record<string, string>) => post("/db/app/pin", fields, { ...session, ...headers });

    for (const headers of [
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { "sec-fetch-site": "none" },
      { origin: "https://evil.example" },
      { origin: "null" },
      {},
    ])
      assert.equal((await from(headers as Record<string, string>)).status, 403, JSON.stringify(headers));
    assert.equal((await from({ origin: url })).status, 303);
    assert.equal(
      (await post("/sign-in", { token: host.token }, { origin: "https://evil.example" })).status,
      403,
    );
    assert.equal((await post("/sign-out", {}, { ...session, origin: "https://evil.example" })).status, 403);
    assert.equal((await ask("/", session)).status, 200);
  });

  test("tells who guesses too often to wait, and lets in who has the right token", async () => {
    let wrong = await post("/sign-in", { token: "wrong" });
    assert.equal(wrong.status, 401);
    assert.match(await wrong.text(), /That is no token of this host/);
    for (let at = 0; at < 30; at += 1)
      wrong = await post("/sign-in", at % 2 === 0 ? { token: `w${at}` } : { code: `c${at}` });

    assert.equal(wrong.status, 429);
    assert.match(wrong.headers.get("retry-after") ?? "", /^\d+$/);
    assert.equal((await ask("/")).status, 303);
    await signIn(host.token);
  });

  test("signs in once by a printed link, and not by opening it", async () => {
    const code = host.makeSignInCode();
    const path = `/sign-in?code=${code}`;
    assert.match(await textOf(path, {}), /signs in once/);
    assert.match(await textOf(path, {}), /signs in once/);

    const [first, second] = [await post("/sign-in", { code }), await post("/sign-in", { code })];

    assert.equal(first.status, 303);
    assert.equal(second.status, 401);
    assert.match(await second.text(), /used already/);
  });

  test("forbids all that it does not need, on every answer", async () => {
    const session = await signIn(host.token);
    for (const path of ["/", "/sign-in", "/db/absent", "/db/app/nothing"]) {
      const { headers } = await ask(path, session);
      assert.match(
        headers.get("content-security-policy") ?? "",
        /^default-src 'none'; style-src 'self'; script-src 'self'/,
      );
      assert.equal(headers.get("x-content-type-options"), "nosniff");
      assert.equal(headers.get("cache-control"), "no-store", path);
    }
    const style = /href="(\/assets\/[^"]+\.css)"/.exec(await textOf("/", session))?.[1] ?? "";
    const asset = await ask(style);
    assert.equal(asset.headers.get("cache-control"), "public, max-age=31536000, immutable");
    assert.equal((await ask(style, { "if-none-match": asset.headers.get("etag") ?? "" })).status, 304);
    assert.equal((await ask("/assets/page-0000000000000000.css")).status, 404);
  });

  test("has no word that came from elsewhere as markup, wherever one can stand", async () => {
    await commit("app", 6, evil);
    const session = await signIn(host.token);
    const generation = (await host.status("app")).generation ?? "";
    const pinned = await post("/db/app/pin", { txid: "06", generation, note: evil }, { ...own, ...session });
    host.raise({ code: "growth", database: "app", message: evil, hint: evil });
    host.raise({ code: "webhook", message: evil, hint: evil });
    const query = encodeURIComponent(evil);
    assert.equal(pinned.status, 303);

    for (const path of [
      ...["/", "/db/app", "/db/app/restore", `/?q=${query}`, `/db/${query}`, `/db/app?from=${query}`],
      ...[`/db/app/restore?txid=${query}`, `/sign-in?to=${query}`, `/sign-in?code=${query.slice(0, 60)}`],
    ]) {
      const text = await (await ask(path, session)).text();
      assert.doesNotMatch(text, /<script>|<img|onerror=alert\(2\)>|\u202e/, path);
      assert.ok(!text.includes("\u0000"), path);
    }
    const overview = await textOf("/", session);
    const page = await textOf("/db/app", session);
    assert.match(overview, shownEvil);
    assert.match(page, new RegExp(`on <bdi>${shownEvil.source}`));
    assert.match(page, /“<bdi>&lt;script&gt;/);
  });

  test("gives no command before the words are typed where an old file does harm", async () => {
    await host.close({ deadlineMs: 0 });
    await open([{ name: "node", path: "/srv/lnd/node.db", profile: "lnd" }]);
    await commit("node", 6);
    const session = { ...own, ...(await signIn(host.token)) };
    const path = "/db/node/restore?txid=06";

    const before = await textOf(path, session);
    const wrong = await post(path, { acknowledge: "yes" }, session);
    const right = await post(path, { acknowledge: " Loss of funds" }, session);

    assert.match(before, /type: loss of funds/);
    assert.doesNotMatch(before, /pageferry restore -o/);
    assert.equal(wrong.status, 422);
    assert.doesNotMatch(await wrong.text(), /pageferry restore -o/);
    assert.equal(right.status, 200);
    const got = await right.text();
    assert.match(
      got,
      /pageferry restore -o node-0000000000000006\.db .* --acknowledge &quot;loss of funds&quot; http/,
    );
    assert.match(got, /href="[^"]*\/restore\?txid=\w+&amp;generation=\w+&amp;acknowledge=loss\+of\+funds"/);
  });

  test("leads inside only where the host lets somebody look, and only who may", async () => {
    await commit("app", 6);
    const scopes: readonly Scope[] = ["read", "restore", "inspect"];
    const link = /href="\/db\/app\/inspect/;
    const { token } = await tokenOf(scopes);
    const off = await signIn(token);
    assert.doesNotMatch(await textOf("/db/app", off), link);
    assert.doesNotMatch(await textOf("/db/app/restore", off), link);
    assert.match(await textOf("/db/app/inspect", off, 403), /<code>inspect: true<\/code>/);

    await host.close({ deadlineMs: 0 });
    await open([], true);
    const on = await signIn(token);
    const others = await signIn((await tokenOf(["read", "restore", "operate"])).token);
    const elsewhere = await signIn((await tokenOf(scopes, ["other"])).token);

    assert.match(await textOf("/db/app", on), link);
    assert.match(await textOf("/db/app/restore", on), link);
    assert.match(await textOf("/db/app/inspect?path=//", on, 400), /a name of a bucket or key/);
    assert.doesNotMatch(await textOf("/db/app", others), link);
    assert.match(await textOf("/db/app/inspect", others, 403), /lacks the scope inspect/);
    assert.match(await textOf("/db/app/inspect", elsewhere, 403), /not for database/);
    assert.equal((await ask("/db/app/inspect")).status, 303);
  });

  test("finds the newest point not later than a time, which without a zone is UTC, and says how far it is", async () => {
    await commit("app", 9);
    const session = await signIn(host.token);

    const text = await textOf("/db/app/restore?timestamp=2026-01-02T03:04:11", session);

    assert.match(text, /--txid 0000000000000006 /);
    assert.match(text, /You asked for 2026-01-02 03:04:11 UTC; the newest point not later is exactly then/);
    assert.match(
      await textOf("/db/app/restore?timestamp=yesterday", session, 400),
      /timestamp: a time such as/,
    );
    assert.match(await textOf("/db/app/restore?txid=ffffffffffffffff", session, 404), /ffffffffffffffff/);
  });

  test("lets a pin be made and let go, and shows it with its note", async () => {
    await commit("app", 9);
    const session = { ...own, ...(await signIn(host.token)) };
    const generation = (await host.status("app")).generation ?? "";
    const fields = { txid: "0000000000000007", generation, note: "before the migration" };

    const pinned = await post("/db/app/pin", fields, session);
    assert.equal(pinned.headers.get("location"), "/db/app#pins-title");
    assert.match(await textOf("/db/app", session), /before the migration/);
    await post("/db/app/unpin", fields, session);

    assert.doesNotMatch(await textOf("/db/app", session), /before the migration/);
  });

  test("says what a database takes in each replica", async () => {
    await commit("app", 6);

    const text = await textOf("/db/app", await signIn(host.token));

    assert.match(
      text,
      /<td data-label="Stored">[\d.]+ (KiB|B) <span class="dim">in \d objects, [\d.]+ times its/,
    );
    assert.match(text, /known after an hour/);
  });

  test("is small when only what keeps itself up to date is asked for, and reads no archive for it", async () => {
    await commit("app", 60);
    const session = await signIn(host.token);

    const live = await textOf("/db/app", { ...session, "pageferry-part": "live" });

    assert.match(live, /id="verdict"/);
    assert.doesNotMatch(live, /Restorable points/);
  });
});
