// What holds for every page in every look: everybody can use it (axe-core), it is not wider than its window, and it asks nothing of elsewhere.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import axe from "axe-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { openPage, signIn } from "./browser.ts";
import type { World } from "./world.ts";

/** Where screenshots go, for somebody to look at; without it none are taken. */
const shots = process.env.PAGEFERRY_SHOTS || undefined;

const looks: Readonly<Record<string, BrowserContextOptions>> = {
  light: {},
  dark: { colorScheme: "dark" },
  phone: { viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

/** What axe finds wrong with a page, one line each. */
async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const run = "axe.run(document, { resultTypes: ['violations'] })";
  const { violations } = (await page.evaluate(run)) as {
    readonly violations: readonly {
      readonly id: string;
      readonly nodes: readonly { readonly html: string }[];
    }[];
  };
  return violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`,
  );
}

async function faultsOf(page: Page, name: string): Promise<string[]> {
  if (shots !== undefined) {
    await mkdir(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  }
  const width = Number(await page.evaluate("document.documentElement.scrollWidth"));
  const room = page.viewportSize()?.width ?? 0;
  const wide = width > room ? [`${width} px wide, in ${room}`] : [];
  return [...(await violationsOf(page)), ...wide].map((line) => `${name}: ${line}`);
}

interface SoundOptions {
  /** Default: true. */
  readonly isSignedIn?: boolean;
  /** By page. Default: 200. */
  readonly statuses?: Readonly<Record<string, number>>;
}

/** Opens each page in each look, the looks side by side, and asserts what holds for all of them. */
export async function assertSound(
  browser: Browser,
  world: World,
  state: string,
  pages: Readonly<Record<string, string>>,
  { isSignedIn = true, statuses = {} }: SoundOptions = {},
): Promise<void> {
  const inLook = async ([look, options]: [string, BrowserContextOptions]): Promise<string[]> => {
    const { page, context, offences } = await openPage(browser, world.url, options);
    const found: string[] = [];
    if (isSignedIn) await signIn(page, world.url, world.host.token);
    for (const [name, path] of Object.entries(pages)) {
      const status = (await page.goto(`${world.url}${path}`))?.status() ?? 0;
      if (status !== (statuses[name] ?? 200)) found.push(`${name} ${look}: status ${status}`);
      found.push(...(await faultsOf(page, `${state}-${name}-${look}`)));
    }
    await context.close();
    return [...found, ...offences];
  };
  assert.deepEqual((await Promise.all(Object.entries(looks).map(inLook))).flat(), []);
}
