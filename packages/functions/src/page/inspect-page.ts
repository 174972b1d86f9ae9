// The page inside a backup: buckets and keys of one point, and one value, a part at a time. Names and values are anything that somebody once
// wrote: they are text here, bounded, and what hides in them is spelled out.

import { type BucketEntry, bytesOfName, formatTxId, nameOfBytes, type RestorePlan } from "@pageferry/format";
import { type Html, html, none } from "./html.ts";
import { pathOf } from "./layout.ts";
import type { Part, Shown } from "./value-view.ts";
import { bytesWord, count, exact, txIdMark } from "./words.ts";

/** Entries on one page. */
export const entriesMax = 100;

/** Bytes of keys on one page; each stands there twice, once in a link. */
export const keyBytesMax = 32 * 1024;

/** Of one name, in characters: enough to tell it from its neighbours. The whole name is in its link. */
const nameShown = 160;

/** An address must fit into 16 KiB with all other headers. */
const addressMax = 12 * 1024;

export interface Where {
  readonly database: string;
  /** Names of buckets as `ls` writes them. */
  readonly path: readonly string[];
  readonly plan: Pick<RestorePlan, "generation" | "txId" | "stampMs" | "warnings">;
}

/** A part of a bucket. */
export interface ListingView {
  readonly kind: "bucket";
  readonly entries: readonly BucketEntry[];
  /** As `after` takes it. */
  readonly next: string | undefined;
  readonly after: string | undefined;
  readonly prefix: string | undefined;
}

/** A part of a value. */
export interface ValueView {
  readonly kind: "value";
  readonly key: string;
  readonly bytes: number;
  readonly part: Part;
  readonly shown: Shown;
  readonly wantsHex: boolean;
  /** Whether one answer of the API holds all of it. */
  readonly mayDownload: boolean;
}

/** There is nothing of that name at this point. */
export interface NothingView {
  readonly kind: "nothing";
  readonly key: string | undefined;
}

export interface InspectView extends Where {
  readonly what: ListingView | ValueView | NothingView;
  /** Of this host, as the browser calls it. */
  readonly origin: string;
  readonly mayRestore: boolean;
  readonly nowMs: number;
}

export function inspectMain(view: InspectView): Html {
  const { database, what } = view;
  return html`<h1>Look inside <bdi>${database}</bdi></h1>
${pointSection(view)}
<section aria-labelledby="inside-title"><h2 id="inside-title">${
    what.kind === "value" || (what.kind === "nothing" && what.key !== undefined) ? "Value" : "Bucket"
  }</h2>${crumbs(view)}
${what.kind === "bucket" ? listing(view, what) : what.kind === "value" ? value(view, what) : nothing()}</section>`;
}

/** The address of something at the same point. */
function addressOf({ database, plan }: Where, query: Readonly<Record<string, string | undefined>>): string {
  const point = { txid: formatTxId(plan.txId), generation: plan.generation };
  return pathOf(database, "/inspect", { ...query, ...point });
}

function pointSection(view: InspectView): Html {
  const { database, path, plan, mayRestore, nowMs, what } = view;
  const txid = formatTxId(plan.txId);
  const joined = path.join("/");
  const key = what.kind === "value" || what.kind === "nothing" ? what.key : undefined;
  const kept = html`${hiddenField("path", joined)}${hiddenField("key", key)}`;
  const action = pathOf(database, "/inspect");
  return html`<section aria-labelledby="point-title"><h2 id="point-title">The point</h2>
<dl class="facts"><dt>Committed</dt><dd>${exact(plan.stampMs, nowMs)}</dd><dt>Transaction</dt><dd>${txIdMark(txid)} of generation <code>${plan.generation}</code></dd></dl>
${plan.warnings.map((warning) => html`<p class="warn"><bdi>${warning}</bdi></p>`)}
<details><summary>Look at another point</summary>
<form class="tools" method="get" action="${action}">${kept}<label>The newest point not later than (UTC) <input type="datetime-local" name="timestamp" step="1" required value="${new Date(plan.stampMs ?? nowMs).toISOString().slice(0, 19)}"></label><button>Look then</button></form>
<form class="tools" method="get" action="${action}">${kept}<label>Or a transaction <input type="text" name="txid" required maxlength="20" pattern="[0-9a-fA-F]{16}|[0-9]{1,15}" title="16 hex digits as they are shown here, or a shorter decimal number" autocomplete="off" spellcheck="false" placeholder="${txid}"></label><button>Look at it</button></form>
<p><a href="${pathOf(database, "/inspect", { path: joined || undefined, key })}">The newest point</a></p></details>
<p class="dim small">Each look is written to the host's log, with your token's id. Names and values are not.${
    mayRestore
      ? html` <a href="${pathOf(database, "/restore", { txid, generation: plan.generation })}">Restore this point</a>`
      : none
  }</p></section>`;
}

function hiddenField(name: string, text: string | undefined): Html {
  return text === undefined || text === ""
    ? none
    : html`<input type="hidden" name="${name}" value="${text}">`;
}

/** From the root down to what is shown, which is last and no link. */
function crumbs(view: InspectView): Html {
  const { database, path, what } = view;
  const key = what.kind === "bucket" ? undefined : what.key;
  const steps = [
    { text: database, path: "" },
    ...path.map((text, at) => ({ text, path: path.slice(0, at + 1).join("/") })),
  ];
  const here = html` aria-current="page"`;
  const items = steps.map(({ text, path: to }, at) =>
    key === undefined && at === path.length
      ? html`<li${here}><bdi>${clipped(text)}</bdi></li>`
      : html`<li><a href="${addressOf(view, { path: to === "" ? undefined : to })}"><bdi>${clipped(text)}</bdi></a></li>`,
  );
  return html`<nav class="crumbs" aria-label="Bucket"><ol>${items}${key === undefined ? none : html`<li${here}><bdi>${clipped(key)}</bdi></li>`}</ol></nav>`;
}

/** A name as far as it is shown. Space at its ends would not be seen: it stands there in hex. No character is cut in two. */
function clipped(name: string): string {
  const text = name.trim() === name ? name : `hex:${Buffer.from(bytesOfName(name)).toString("hex")}`;
  if (text.length <= nameShown) return text;
  const cut = text.slice(0, nameShown);
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`;
}

function listing(view: InspectView, { entries, next, after, prefix }: ListingView): Html {
  const { database, path, plan } = view;
  const joined = path.join("/");
  const point = html`${hiddenField("path", joined)}${hiddenField("txid", formatTxId(plan.txId))}${hiddenField("generation", plan.generation)}`;
  const more = { path: joined || undefined, prefix };
  const where = after === undefined ? "" : ", from where the page before ended";
  const caption = `${count(entries.length, "entry").replace("entrys", "entries")}${where}${next === undefined ? "" : "; there are more"}`;
  return html`<form class="tools" method="get" action="${pathOf(database, "/inspect")}" role="search">${point}<label>Names that begin with <input type="search" name="prefix" value="${prefix ?? ""}" maxlength="1024" autocomplete="off" spellcheck="false"></label><button>Find</button>${
    prefix === undefined
      ? none
      : html`<a class="button" href="${addressOf(view, { path: more.path })}">Show all</a>`
  }</form>
${
  entries.length === 0
    ? html`<p>${prefix === undefined && after === undefined ? "This bucket is empty." : "No name here begins so."}</p>`
    : html`<table class="names"><caption>${caption}</caption><thead><tr><th scope="col">Name</th><th scope="col" class="number">Size</th></tr></thead><tbody>${entries.map((entry) => row(view, entry))}</tbody></table>`
}
${
  after === undefined && next === undefined
    ? none
    : html`<nav class="pages" aria-label="Pages">${after === undefined ? none : html`<a class="button" href="${addressOf(view, more)}">From the beginning</a>`}${next === undefined ? none : pageLink(addressOf(view, { ...more, after: next }))}</nav>`
}`;
}

function pageLink(address: string): Html {
  return address.length > addressMax
    ? html`<p>The next name is too long for an address: <code>pageferry ls</code> goes on.</p>`
    : html`<a class="button" rel="next" href="${address}">Next</a>`;
}

function row(view: InspectView, entry: BucketEntry): Html {
  const name = nameOfBytes(entry.key);
  const isBucket = entry.kind === "bucket";
  const path = view.path.join("/");
  const address = isBucket
    ? addressOf(view, { path: path === "" ? name : `${path}/${name}` })
    : addressOf(view, { path: path || undefined, key: name });
  const shown = html`<bdi>${clipped(name)}</bdi>${isBucket ? "/" : ""}`;
  const length =
    name.length > nameShown
      ? html` <span class="small dim">a name of ${entry.key.length.toLocaleString("en")} bytes</span>`
      : none;
  const link =
    address.length > addressMax
      ? html`${shown} <span class="small dim">too long for an address: use <code>pageferry ${isBucket ? "ls" : "get"}</code></span>`
      : html`<a href="${address}">${shown}</a>`;
  const text = /^hex:/.test(name) ? readable(entry.key) : undefined;
  const reading = text === undefined ? none : html` <span class="small dim">“<bdi>${text}</bdi>”</span>`;
  const size = isBucket ? html`<span class="dim">bucket</span>` : bytesWord(entry.valueBytes);
  return html`<tr><th scope="row">${link}${reading}${length}</th><td class="number">${size}</td></tr>`;
}

/** What a name in hex says, where it is short text: such as one with slashes in it. */
function readable(key: Uint8Array): string | undefined {
  const text = Buffer.from(key).toString("utf8");
  const isText = key.length <= nameShown && !/[\p{C}\p{Zl}\p{Zp}\ufffd]/u.test(text);
  return isText ? text : undefined;
}

function value(view: InspectView, { key, bytes, part, shown, wantsHex, mayDownload }: ValueView): Html {
  const { database, path, origin, plan } = view;
  const query = { path: path.join("/") || undefined, key };
  const as = wantsHex ? { as: "hex" } : {};
  const to = (offset: number, look: Readonly<Record<string, string>>): string =>
    addressOf(view, { ...query, ...(offset === 0 ? {} : { at: String(offset) }), ...look });
  const edges = `bytes ${part.offset.toLocaleString("en")} to ${(part.end - 1).toLocaleString("en")}`;
  const isPart = part.before !== undefined || part.next !== undefined;
  const search = new URLSearchParams({
    ...(query.path === undefined ? {} : { path: query.path }),
    ...{ key, txid: formatTxId(plan.txId), generation: plan.generation },
  });
  const download = `/v1/databases/${encodeURIComponent(database)}/inspect/get?${search}`;
  const point = `--txid ${formatTxId(plan.txId)} --generation ${plan.generation}`;
  const command = `pageferry get -o value ${point} ${origin} ${quoted([database, ...path, key].join("/"))}`;
  return html`<p>${bytes === 0 ? "It is empty." : html`${bytesWord(bytes)}${bytes < 1024 ? none : html` <span class="dim">(${bytes.toLocaleString("en")} bytes)</span>`}${isPart ? html`; here ${edges}` : none}, as ${shown.kind === "hex" ? "bytes in hex" : "text"}.`}</p>
${bytes === 0 ? none : dump(shown)}
<nav class="pages" aria-label="Parts of the value">${part.before === undefined ? none : html`<a class="button" rel="prev" href="${to(part.before, as)}">Before</a>`}${
    part.next === undefined ? none : html`<a class="button" rel="next" href="${to(part.next, as)}">Next</a>`
  }${shown.kind === "text" && bytes > 0 ? html`<a class="button" href="${to(part.offset, { as: "hex" })}">As hex</a>` : none}${
    wantsHex ? html`<a class="button" href="${to(part.offset, {})}">As text, where it is some</a>` : none
  }${mayDownload ? html`<a class="button" href="${download}" download="value">Download</a>` : none}</nav>
<p>In a terminal, with a token of the scope <code>inspect</code> in PAGEFERRY_TOKEN:</p><pre class="command">${command}</pre>`;
}

function dump(shown: Shown): Html {
  if (shown.kind === "text") return html`<pre class="value"><bdi>${shown.text}</bdi></pre>`;
  return html`<ol class="value hex" aria-label="Bytes in hex, sixteen to a line">${shown.lines.map(
    ({ at: offset, groups, text }) =>
      html`<li><span class="dim">${offset}</span>${[0, 1].map((at) => html`<span class="eight">${groups[at] ?? ""}</span>`)}<span>${text}</span></li>`,
  )}</ol>`;
}

function nothing(): Html {
  return html`<p class="bad" role="alert">At this point there is nothing under this name. It may be there at another one.</p>`;
}

/** A word for a shell. */
function quoted(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
