// From "my file is gone" to a restored, checked file, in a real browser: with a script, without one, and by keyboard alone.
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { type Acknowledged, checkFile, readWriterLog, runWriter } from "../go-apps.ts";
import { type Host, pageferry, startUp } from "../pageferry.ts";
import { type TemporaryDirectory, temporaryDirectory, until } from "../temporary.ts";
import { openBrowser, openPage, signIn } from "./browser.ts";

/** Tabs until what has the focus is called `name`, as somebody without a mouse does, and presses Enter there. */
async function press(page: Page, name: RegExp, key = "Enter"): Promise<void> {
  const focused =
    "document.activeElement.textContent || document.activeElement.labels?.[0]?.textContent || ''";
  for (let tabs = 0; tabs < 150; tabs += 1) {
    await page.keyboard.press("Tab");
    if (!name.test(String(await page.evaluate(focused)).trim())) continue;
    const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
    assert.notEqual(outline, "none", `${name} does not show that it has the focus`);
    await page.keyboard.press(key);
    return;
  }
  assert.fail(`nothing that Tab reaches is called ${name}`);
}

suite("who lost a file", () => {
  let browser: Browser & AsyncDisposable;
  let directory: TemporaryDirectory;
  let host: Host;
  let path: string;
  let log: readonly Acknowledged[];
  before(async () => {
    directory = await temporaryDirectory();
    path = directory.file("app.db");
    browser = await openBrowser();
    host = await startUp([path], { dataDir: directory.file("data"), args: ["--sync-interval", "100ms"] });
    await runWriter({ path, rate: 20, seconds: 8, log: directory.file("log") });
    log = await readWriterLog(directory.file("log"));
    const newest = log.at(-1)?.txId ?? 0;
    const headers = { authorization: `Bearer ${await host.token()}` };
    await until("all is stored", async () => {
      const answer = await fetch(`${host.url}/v1/databases/app`, { headers });
      const { replicas } = (await answer.json()) as {
        readonly replicas: readonly { readonly txid: string }[];
      };
      return replicas[0] !== undefined && Number.parseInt(replicas[0].txid, 16) >= newest;
    });
    await rm(path);
  });
  after(async () => {
    await browser?.close();
    await host?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  /** A commit in the middle, and a time at which it was the newest: a whole second, as a person would say it. */
  function chosen(): { readonly commit: Acknowledged; readonly second: string } {
    const middleMs = Math.ceil((log[Math.floor(log.length / 2)]?.atMs ?? 0) / 1000) * 1000;
    const commit = log.findLast(({ atMs }) => atMs <= middleMs);
    assert.ok(commit);
    return { commit, second: new Date(middleMs).toISOString().slice(0, 19) };
  }

  /** Runs the command that the page prints, in a directory of its own, and judges the file by bbolt. */
  async function restored(page: Page, name: string): Promise<Acknowledged> {
    const command = (await page.locator("#command").textContent()) ?? "";
    const [program, verb, ...args] = command.split(" ");
    assert.deepEqual([program, verb], ["pageferry", "restore"]);
    const out = directory.file(name);
    const run = await pageferry(
      ["restore", ...args.map((word, at) => (args[at - 1] === "-o" ? out : word))],
      {
        env: { PAGEFERRY_TOKEN: await host.token() },
      },
    );
    assert.equal(run.code, 0, run.stderr);
    return checked(out);
  }

  /** The file is whole by bbolt's own check, and it is the state of one acknowledged commit. */
  async function checked(file: string): Promise<Acknowledged> {
    const verdict = await checkFile(file);
    const commit = log.find(({ txId }) => txId === verdict.txid);
    assert.ok(verdict.ok, verdict.errors.join("\n"));
    assert.ok(commit, `${verdict.txid} was never acknowledged`);
    assert.equal(verdict.app?.sum, commit.sum);
    return commit;
  }

  /** It is the newest point of the chosen time: points lie an interval apart, and a stamp is taken when a commit is noticed. */
  function assertChosen({ txId, atMs }: Acknowledged): void {
    const lateMs = Date.parse(`${chosen().second}Z`) - atMs;
    assert.ok(lateMs > -200 && lateMs < 1000, `${txId} is ${lateMs} ms before the chosen time`);
  }

  test("signs in, chooses a time, and runs the printed command or takes the download", async () => {
    const { page, context, offences } = await openPage(browser, host.url);
    await signIn(page, host.url, await host.token());
    await until("the page says that the file is gone", async () => {
      const said = (await page.getByRole("status").textContent()) ?? "";
      return said.includes("This database is not safe") && said.includes("What to do");
    });
    await page.getByRole("rowheader").getByRole("link", { name: "app" }).click();
    await page.getByLabel("The newest point not later than").fill(chosen().second);
    await page.getByRole("button", { name: "Choose this time" }).click();
    await page.getByRole("heading", { name: "What the file will mean" }).waitFor();

    assertChosen(await restored(page, "script.db"));
    const link = page.getByRole("link", { name: /^Download/ });
    const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
    await download.saveAs(directory.file("downloaded.db"));
    assertChosen(await checked(directory.file("downloaded.db")));

    assert.deepEqual(offences, []);
    await context.close();
  });

  test("does the same without a script", async () => {
    const { page, context, offences } = await openPage(browser, host.url, { javaScriptEnabled: false });
    await signIn(page, host.url, await host.token());
    await page.getByRole("rowheader").getByRole("link", { name: "app" }).click();
    await page.getByLabel("The newest point not later than").fill(chosen().second);
    await page.getByRole("button", { name: "Choose this time" }).click();

    assertChosen(await restored(page, "plain.db"));

    assert.deepEqual(offences, []);
    await context.close();
  });

  test("does the same by keyboard alone, and sees where the focus is", async () => {
    const { page, context, offences } = await openPage(browser, host.url);
    await page.goto(`${host.url}/`);
    await press(page, /^Token/, "Home");
    await page.keyboard.type(await host.token());
    await press(page, /^Sign in$/);
    await page.waitForURL(`${host.url}/`);
    await press(page, /^Skip to content$/);
    await press(page, /^app$/);
    await page.waitForURL(/\/db\/app$/);
    await press(page, /^Choose this time$/);
    await page.waitForURL(/\/restore\?/);

    const { txId } = await restored(page, "keyboard.db");

    assert.ok((log.at(-1)?.txId ?? 0) - txId < 25, `${txId} is not of the newest second`);
    assert.deepEqual(offences, []);
    await context.close();
  });

  test("sees within seconds what is committed, without doing anything", { timeout: 90_000 }, async () => {
    const { page, context, offences } = await openPage(browser, host.url);
    await signIn(page, host.url, await host.token());
    const newest = page.locator("#databases code.id").first();
    const seen = await newest.textContent();
    await page.evaluate("window.isSamePage = true");

    await runWriter({ path, rate: 20, seconds: 1 });

    const changed = async () => (await newest.textContent()) !== seen;
    await until("the page shows it", changed, { timeoutMs: 20_000 });
    assert.equal(await page.evaluate("window.isSamePage"), true);
    assert.deepEqual(offences, []);
    await context.close();
  });
});
