// What the page does by itself while somebody looks at it: it follows, keeps the focus, and says so when what it shows is old.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createToken, revokeToken } from "@pageferry/functions";
import type { Browser } from "playwright-core";
import { until } from "../temporary.ts";
import { openBrowser, openPage, signIn } from "./browser.ts";
import { openWorld, type World } from "./world.ts";

suite("an open page", { timeout: 120_000 }, () => {
  let browser: Browser & AsyncDisposable;
  let world: World;
  before(async () => {
    browser = await openBrowser();
    world = await openWorld();
    await world.commit("app", 3);
    await world.settled("app");
    world.moveTo(7);
  });
  after(async () => {
    await browser?.close();
    await world?.[Symbol.asyncDispose]();
  });

  test("follows alarms and commits, and leaves the focus where it is", async () => {
    const { page, context, offences } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    const link = page.getByRole("rowheader").getByRole("link", { name: "app" });
    await link.focus();

    world.host.raise({ code: "growth", database: "app", message: "it grows", hint: "Look at `app`." });
    await page.getByRole("status").getByText("it grows").waitFor({ timeout: 20_000 });

    assert.equal(await page.evaluate("document.activeElement.getAttribute('href')"), "/db/app");
    world.host.clear({ code: "growth", database: "app" });
    await page.getByRole("status").getByText("Everything is safe").waitFor({ timeout: 20_000 });
    assert.deepEqual(offences, []);
    await context.close();
  });

  test("does not announce what did not change: the sentence stays the same node", async () => {
    const { page, context } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    await page.evaluate("document.querySelector('#verdict h1').mark = 1");

    await world.commit("app", 1);
    const newest = page.locator("#databases code.id").first();
    await until("the commit is shown", async () => (await newest.textContent()) === "0000000000000008");

    assert.equal(await page.evaluate("document.querySelector('#verdict h1').mark"), 1);
    await context.close();
  });

  test("says that it is old when the host does not answer, and that it is not when it does", async () => {
    const { page, context } = await openPage(browser, world.url);
    await signIn(page, world.url, world.host.token);
    await page.clock.install();
    await context.setOffline(true);
    const line = page.locator("#line");
    await until("it says so", async () => {
      await page.clock.runFor(6000);
      return line.isVisible();
    });
    assert.match((await line.textContent()) ?? "", /has not answered since/);
    await context.setOffline(false);

    await until("it takes that back", async () => {
      await page.clock.runFor(6000);
      return !(await line.isVisible());
    });

    await context.close();
  });

  test("says that nobody is signed in any more when the token is revoked", async () => {
    const { page, context } = await openPage(browser, world.url);
    const dataDir = world.directory.file("data");
    const { token, record } = await createToken(dataDir, { scopes: ["read"], databases: "*" }, Date.now());
    await page.waitForTimeout(150);
    await signIn(page, world.url, token);

    await revokeToken(dataDir, record.id);

    await page.locator("#line").getByText("You are signed out").waitFor({ timeout: 20_000 });
    await context.close();
  });
});
