// Markup as tagged templates. Whatever is put in is text unless `html` made it, and what would hide or turn text around is spelled out:
// names, notes and errors come from elsewhere.

import { html as tagged } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";

/** Markup that is safe as it is. */
export type Html = HtmlEscapedString;

/** What may be put into markup; `false` and `undefined` are nothing. */
export type Content = Html | string | number | false | undefined | readonly Content[];

/** Controls, zero widths, and what changes the direction of what follows. */
const deceptive =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** Text as it can be shown: `\u202e` for what would not be seen. */
export function plain(text: string): string {
  return text
    .toWellFormed()
    .replace(deceptive, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Markup out of a template; every attribute in it must be quoted. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  const made = tagged(strings, ...values.map(shown));
  if (made instanceof Promise) throw new TypeError("markup holds no promise");
  return made;
}

function shown(value: Content): unknown {
  if (typeof value === "string") return plain(value);
  return Array.isArray(value) ? value.map(shown) : value;
}

/** Nothing. */
export const none: Html = html``;
