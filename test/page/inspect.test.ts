// Looking inside a backup in a real browser: what lies there is somebody else's, and whatever it is, it is text; by keyboard, without a script,
// and only for who may.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createToken } from "@pageferry/functions";
import type { Browser, Page } from "playwright-core";
import { bytesOf, hostile, typed, writeReplica } from "../inside.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { openBrowser, openPage, signIn } from "./browser.ts";
import { assertSound } from "./sound.ts";
import { openWorld, type World } from "./world.ts";

const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

/** What would run, break out of an attribute, or turn what follows around. */
const evil = [
  ...hostile,
  ...["<script>document.title='owned'</script>", `"><img src=x onerror="document.title='owned'">`],
  ...["' onmouseover=alert(1) x='", "javascript:alert(1)", "</bdi></a></table><h1>owned</h1>"],
  ...["<svg/onload=document.title='owned'>", "{{7*7}}", "${alert(1)}", "a</pre><form action=//evil.example>"],
  ...[utf8("safe\u202etxt.exe"), utf8("zero\u200bwidth"), utf8("\u2066isolate"), utf8("\ufeffbom")],
];

/** What a link to it is called. */
const seenAs = (name: string): string => (name === " " ? "hex:20" : typed(name));

const long = `${"é€😀 some words in a value, which go on. ".repeat(600)}the end`;

const tree = new Map([
  ["evil", new Map(evil.map((name) => [name, bytesOf(`value of ${name}`)]))],
  ...evil.map((name) => [name, new Map([[name, bytesOf(name)]])] as const),
  [
    "many",
    new Map(Array.from({ length: 250 }, (_, at) => [`key-${String(at).padStart(3, "0")}`, bytesOf("v")])),
  ],
  [
    "users",
    new Map([
      ["alice", bytesOf('{\n  "name": "Alice",\n  "admin": true\n}\n')],
      ["empty", bytesOf("")],
    ]),
  ],
  [
    "blobs",
    new Map([
      ["long", bytesOf(utf8(long))],
      ["random", Uint8Array.from({ length: 300 }, (_, at) => (at * 73) % 256)],
    ]),
  ],
  ["nothing", new Map<string, Uint8Array>()],
]);

suite("looking inside with a browser", { timeout: 120_000 }, () => {
  let browser: Browser & AsyncDisposable;
  let directory: TemporaryDirectory;
  let world: World;
  before(async () => {
    directory = await temporaryDirectory();
    await writeReplica(directory.file("replica", "app"), tree);
    browser = await openBrowser();
    world = await openWorld({
      inspect: true,
      replicas: [{ type: "file", path: directory.file("replica") }],
      databases: [{ name: "app", path: "/srv/app/app.db" }],
    });
  });
  after(async () => {
    await browser?.close();
    await world?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const pathTo = (path: string, key?: string): string =>
    `/db/app/inspect?${new URLSearchParams({ path, ...(key === undefined ? {} : { key }) })}`;

  /** That nothing of what lies in the backup came to life. */
  async function assertInert(page: Page, where: string): Promise<void> {
    const found = await page.evaluate(`({
      scripts: [...document.scripts].filter(({ src }) => !src.startsWith(location.origin + "/assets/")).length,
      strangers: document.querySelectorAll("img, iframe, object, h1:nth-of-type(2), [style], [onmouseover], [onerror], main svg").length,
      links: [...document.links, ...document.forms].filter(({ href, action }) => !(href ?? action).startsWith(location.origin)).length,
      isOwned: document.title.includes("owned") && !document.title.includes("pageferry"),
    })`);
    assert.deepEqual(found, { scripts: 0, strangers: 0, links: 0, isOwned: false }, where);
  }

  test("goes from the database to a value, and back up", async () => {
    const { page, context, offences } = await openPage(browser, world.url, { javaScriptEnabled: false });
    await signIn(page, world.url, world.host.token);
    await page.goto(`${world.url}/db/app`);
    await page.getByRole("link", { name: "Look inside the newest point" }).click();
    await page.getByRole("link", { name: "users/" }).click();
    await page.getByRole("link", { name: "alice" }).click();

    assert.equal(
      await page.locator("pre.value").textContent(),
      '{\n  "name": "Alice",\n  "admin": true\n}\n',
    );
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download" }).click(),
    ]);
    assert.match(download.suggestedFilename(), /^value/);
    await page.getByRole("navigation", { name: "Bucket" }).getByRole("link", { name: "users" }).click();
    await page.getByRole("link", { name: "empty" }).click();
    await page.getByText("It is empty.").waitFor();
    assert.deepEqual(offences, []);
    await context.close();
  });

  test("shows names and values of any kind as text, and each leads to what it names", async () => {
    const { page, context, offences } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    for (const path of ["", "evil", ...evil.map(typed)]) {
      await page.goto(`${world.url}${pathTo(path)}`);
      await assertInert(page, path);
    }
    const listed = await page.goto(`${world.url}${pathTo("evil")}`);
    assert.equal(listed?.headers()["content-encoding"], undefined, "what was squeezed tells by its length");
    const names = await page.locator("table.names tbody a").allTextContents();
    assert.deepEqual(names.sort(), evil.map(seenAs).sort());

    for (const name of evil) {
      await page.goto(`${world.url}${pathTo("evil")}`);
      await page
        .getByRole("rowheader")
        .getByRole("link", { name: seenAs(name), exact: true })
        .click();
      await page.locator(".value").waitFor();
      await assertInert(page, typed(name));
      await page.goto(`${world.url}${pathTo(typed(name), typed(name))}`);
      await assertInert(page, typed(name));
    }
    // Nothing in it turns what stands beside it around.
    await page.goto(`${world.url}${pathTo("evil", typed(utf8("safe\u202etxt.exe")))}`);
    assert.equal(await page.locator(".value").textContent(), "value of safe\\u202etxt.exe");
    assert.deepEqual(offences, []);
    await context.close();
  });

  test("pages through a bucket, and finds names by how they begin", async () => {
    const { page, context } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    await page.goto(`${world.url}${pathTo("many")}`);
    const seen: string[] = [];
    for (;;) {
      seen.push(...(await page.locator("table.names tbody bdi").allTextContents()));
      const next = page.getByRole("link", { name: "Next" });
      if ((await next.count()) === 0) break;
      await next.click();
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 250 }, (_, at) => `key-${String(at).padStart(3, "0")}`),
    );

    await page.getByLabel("Names that begin with").fill("key-24");
    await page.getByRole("button", { name: "Find" }).click();
    assert.equal(await page.locator("table.names tbody tr").count(), 10);
    await context.close();
  });

  test("pages through a long value without losing any of it", async () => {
    const { page, context } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    await page.goto(`${world.url}${pathTo("blobs", "long")}`);
    const parts: Buffer[] = [];
    for (;;) {
      const text = (await page.locator("pre.value").textContent()) ?? "";
      const bytes = text.replaceAll(/\\x(..)/g, (_, hex) =>
        String.fromCharCode(0xdc00 + Number.parseInt(hex, 16)),
      );
      for (const character of bytes) {
        const code = character.charCodeAt(0);
        const isByte = character.length === 1 && code >= 0xdc00 && code <= 0xdcff;
        parts.push(isByte ? Buffer.of(code - 0xdc00) : Buffer.from(character));
      }
      const next = page.getByRole("link", { name: "Next" });
      if ((await next.count()) === 0) break;
      await next.click();
    }

    assert.equal(Buffer.concat(parts).toString(), long);
    await context.close();
  });

  test("is there for who may look inside, and for nobody else", async () => {
    const dataDir = world.directory.file("data");
    const { token } = await createToken(dataDir, { scopes: ["read", "restore"], databases: "*" }, Date.now());
    const inner = await createToken(dataDir, { scopes: ["read", "inspect"], databases: ["app"] }, Date.now());
    await sleep(150);

    const others = await openPage(browser, world.url);
    await signIn(others.page, world.url, token);
    await others.page.goto(`${world.url}/db/app`);
    assert.equal(await others.page.locator('a[href*="/inspect"]').count(), 0);
    const refused = await others.page.goto(`${world.url}/db/app/inspect`);
    assert.equal(refused?.status(), 403);
    await others.page.getByText("lacks the scope inspect").waitFor();
    await others.context.close();

    const mine = await openPage(browser, world.url);
    await signIn(mine.page, world.url, inner.token);
    await mine.page.goto(`${world.url}/db/app`);
    await mine.page.getByRole("link", { name: "Look inside the newest point" }).click();
    await mine.page.getByRole("link", { name: "users/" }).waitFor();
    assert.equal(await mine.page.getByRole("link", { name: "Restore this point" }).count(), 0);
    await mine.context.close();
  });

  test("is usable by everybody, in light, dark and at a phone's width", async () => {
    const pages = {
      ...{ root: pathTo(""), evil: pathTo("evil"), many: pathTo("many"), empty: pathTo("nothing") },
      ...{ text: pathTo("users", "alice"), hex: pathTo("blobs", "random"), long: pathTo("blobs", "long") },
      ...{ absent: pathTo("none", "x"), "no-bucket": pathTo("none"), wrong: "/db/app/inspect?path=//" },
      ...{ link: "/db/app", restore: "/db/app/restore" },
    };
    await assertSound(browser, world, "inspect", pages, {
      statuses: { absent: 404, "no-bucket": 404, wrong: 400 },
    });
  });
});
