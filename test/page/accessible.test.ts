// Every page of the page: usable by everybody (axe-core), in light, dark and at a phone's width; nothing asked of elsewhere; small, and there at once.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { Browser } from "playwright-core";
import { quantile } from "../temporary.ts";
import { openBrowser, openPage, signIn } from "./browser.ts";
import { assertSound } from "./sound.ts";
import { openWorld, sendLongHistory, type World } from "./world.ts";

/** All that a page may weigh, its style sheet and script included. */
const weightBytesMax = 60_000;

/** On a machine that does nothing else it is 110 to 160, and 300 the goal; a page that is broken takes seconds. */
const firstPaintMsMax = 3000;

/** Bytes that come over the line for a page that was never seen before. */
async function weightOf(browser: Browser, world: World, path: string): Promise<number> {
  const { page, context } = await openPage(browser, world.url);
  await signIn(page, world.url, world.host.token);
  const cdp = await context.newCDPSession(page);
  await cdp.send("Network.enable");
  await cdp.send("Network.setCacheDisabled", { cacheDisabled: true });
  let bytes = 0;
  cdp.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
  });
  await page.goto(`${world.url}${path}`, { waitUntil: "load" });
  await page.waitForTimeout(300);
  await context.close();
  return bytes;
}

/** Of five visits, ms from the request to the first paint. */
async function firstPaintOf(browser: Browser, world: World, path: string): Promise<number> {
  const { page, context } = await openPage(browser, world.url);
  await signIn(page, world.url, world.host.token);
  const times: number[] = [];
  for (let visit = 0; visit < 5; visit += 1) {
    await page.goto(`${world.url}${path}`);
    const script =
      "new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime)).observe({ type: 'paint', buffered: true }))";
    times.push(Number(await page.evaluate(script)));
  }
  await context.close();
  return quantile(times, 0.5);
}

suite("the page", () => {
  let browser: Browser & AsyncDisposable;
  before(async () => {
    browser = await openBrowser();
  });
  after(() => browser?.close());

  test("says how to begin where there is nothing", async () => {
    await using world = await openWorld();

    await assertSound(browser, world, "nobody", { "sign-in": "/" }, { isSignedIn: false });
    const pages = { overview: "/", absent: "/db/absent", search: "/?q=%3Cb%3E" };
    await assertSound(browser, world, "empty", pages, { statuses: { absent: 404 } });
  });

  test("shows a long history, a hole in it, a file that was replaced, and leads to each point", async () => {
    await using world = await openWorld();
    await sendLongHistory(world, "app");
    const day = "/db/app?from=2026-01-08T00:00:00Z&to=2026-01-08T03:30:00Z";

    await assertSound(browser, world, "history", {
      ...{
        overview: "/",
        database: "/db/app",
        day,
        minute: "/db/app?from=2026-01-08T03:03&to=2026-01-08T03:03:20",
      },
      ...{
        restore: "/db/app/restore?timestamp=2026-01-06T03:04:05",
        nothing: "/db/app?from=2020-01-01T00:00",
      },
    });
  });

  test("says what is wrong and what to do, and still leads to a restore, when much fails at once", async () => {
    const away = { type: "sftp", host: "127.0.0.1", port: 1, user: "u", password: "p", path: "/x" } as const;
    const hostKey = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    await using world = await openWorld({
      databases: [{ name: "node", path: "/srv/lnd/node.db", profile: "lnd" }],
    });
    await using failing = await openWorld({
      databases: [{ name: "node", path: "/srv/lnd/node.db", profile: "lnd" }],
      replicas: [
        { type: "file", path: world.directory.file("replica") },
        { ...away, hostKey },
      ],
    });
    for (const name of ["app", "billing", "node"]) await failing.commit(name, 60);
    failing.moveTo(64);
    for (const name of ["app", "billing", "node"]) await failing.settled(name);
    failing.host.raise({
      ...{ code: "unreadable", database: "app", message: "/srv/app/app.db cannot be opened: EACCES" },
      hint: "Run as the application's user, or with `CAP_DAC_READ_SEARCH`.",
    });
    await failing.commit("billing", 4);
    await failing.settled("billing");

    const pages = {
      ...{ overview: "/", database: "/db/app", harm: "/db/node/restore", wrong: "/db/app/restore?txid=ffff" },
    };
    await assertSound(browser, failing, "failing", pages, { statuses: { wrong: 400 } });
  });

  test("is small and there at once with a thousand databases, those that need somebody first", async (t) => {
    const names = Array.from({ length: 1000 }, (_, at) => `tenant-${String(at).padStart(4, "0")}`);
    await using world = await openWorld();
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(names.slice(at, at + 50).map((name) => world.commit(name, 2)));
    world.moveTo(7);
    for (const name of names) await world.settled(name);
    const alarm = {
      message: "tenant-0777.db cannot be opened: EACCES",
      hint: "Run as the application's user.",
    };
    world.host.raise({ code: "unreadable", database: "tenant-0777", ...alarm });

    await assertSound(browser, world, "thousand", { overview: "/", last: "/?page=40", search: "/?q=099" });

    const weights: Record<string, number> = {};
    const paints: Record<string, number> = {};
    for (const path of ["/", "/?page=2", "/db/tenant-0777", "/db/tenant-0001/restore"]) {
      weights[path] = await weightOf(browser, world, path);
      paints[path] = Math.round(await firstPaintOf(browser, world, path));
    }
    t.diagnostic(`bytes: ${JSON.stringify(weights)}; first paint, ms: ${JSON.stringify(paints)}`);
    for (const [path, bytes] of Object.entries(weights))
      assert.ok(bytes <= weightBytesMax, `${path}: ${bytes} bytes`);
    for (const [path, ms] of Object.entries(paints)) assert.ok(ms <= firstPaintMsMax, `${path}: ${ms} ms`);
    const { page, context } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    assert.match((await page.getByRole("rowheader").first().textContent()) ?? "", /^tenant-0777/);
    await context.close();
  });
});
