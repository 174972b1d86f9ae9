// A real Chromium for the tests of the page, which notes what a page must not do: ask other hosts, or break its own policy.
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { chromium } from "playwright-core";

/** Debian's; `npm run setup` installs it. */
const executablePath = "/usr/bin/chromium";

/** Starts a browser; leaving the scope ends it. */
export async function openBrowser(): Promise<Browser & AsyncDisposable> {
  // As root, in a container, Chromium's own sandbox cannot be had.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath, args });
}

/** A page with what went wrong on it. */
export interface Watched {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Requests to another origin than the host's, errors of scripts, and violations of the policy. */
  readonly offences: readonly string[];
}

/** Opens a page of a host. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  const offences: string[] = [];
  const { origin } = new URL(url);
  context.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(`${origin}/`) && !asked.startsWith("data:")) offences.push(`asked ${asked}`);
  });
  page.on("pageerror", (error) => void offences.push(`script: ${error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    if (/content security policy|refused to/i.test(text)) offences.push(text);
  });
  page.on("dialog", (dialog) => {
    offences.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return { page, context, offences };
}

/** Signs in with a token, as a person does. */
export async function signIn(page: Page, url: string, token: string): Promise<void> {
  await page.goto(`${url}/`);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((at) => at.pathname !== "/sign-in");
}
