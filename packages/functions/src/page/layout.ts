// What all pages share: the head, the way back, who is signed in, and how old what they show is.

import type { Grant } from "../scopes.ts";
import { pageScript, styleSheet } from "./assets.ts";
import { type Html, html, none } from "./html.ts";
import { exactTime } from "./words.ts";

export interface View {
  readonly title: string;
  readonly main: Html;
  readonly nowMs: number;
  /** Absent: nobody is signed in. */
  readonly grant?: Grant | undefined;
  /** From the overview down to this page, which is last and no link. */
  readonly trail?: readonly { readonly text: string; readonly href?: string }[];
}

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%233b82c4' d='M1 9h14l-2.5 5h-9zM7 2h2v2h3l1 4H3l1-4h3z'/%3E%3C/svg%3E";

const mark = html`<svg width="18" height="18" viewBox="0 0 16 16" aria-hidden="true"><path fill="currentColor" d="M1 9h14l-2.5 5h-9zM7 2h2v2h3l1 4H3l1-4h3z"/></svg>`;

/** A whole page as text. */
export function documentOf({ title, main, nowMs, grant, trail = [] }: View): string {
  const now = new Date(nowMs).toISOString();
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="${icon}">
<link rel="stylesheet" href="${styleSheet.path}">
<script src="${pageScript.path}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
<a class="brand" href="/">${mark}pageferry</a>
<nav aria-label="Where you are"><ol>${trail.map(crumb)}</ol></nav>
${grant === undefined ? none : signedIn(grant)}
</header>
<main id="main" tabindex="-1">
<p id="line" role="alert" hidden></p>
${main}
</main>
<footer>
<span>As of <time datetime="${now}" data-now>${exactTime(Math.floor(nowMs / 1000) * 1000)}</time></span>
${main.includes("data-live") ? html`<span>It keeps itself up to date; without a script, reload.</span>` : none}
</footer>
</body>
</html>
`.toString();
}

function crumb({ text, href }: { readonly text: string; readonly href?: string }): Html {
  return href === undefined
    ? html`<li aria-current="page"><bdi>${text}</bdi></li>`
    : html`<li><a href="${href}"><bdi>${text}</bdi></a></li>`;
}

function signedIn({ id, databases }: Grant): Html {
  const scope =
    databases === "*" ? "" : ` for ${databases.size === 1 ? "one database" : `${databases.size} databases`}`;
  const who = id === "host" ? "the host's token" : `token ${id}${scope}`;
  return html`<form method="post" action="/sign-out"><span>${who}</span><button class="quiet">Sign out</button></form>`;
}

/** The address of a database's page, or of one below it. */
export function pathOf(
  database: string,
  below = "",
  query: Readonly<Record<string, string | undefined>> = {},
): string {
  const given: [string, string][] = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as [string, string]],
  );
  const search = new URLSearchParams(given).toString();
  return `/db/${encodeURIComponent(database)}${below}${search === "" ? "" : `?${search}`}`;
}
