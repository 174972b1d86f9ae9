// The page at `/`: is everything safe, what is not, and each database with its replicas.

import type { LagHistory } from "../lag-history.ts";
import type { AlarmStatus, DatabaseStatus } from "../status.ts";
import type { ReplicaStatus } from "../status-replica.ts";
import { type Html, html, none } from "./html.ts";
import { pathOf } from "./layout.ts";
import type { Judged, Level, Verdict } from "./safety.ts";
import { sparkline } from "./sparkline.ts";
import { ago, count, spanWord, txIdMark } from "./words.ts";

/** Databases on one page: it stays small enough for a slow line. */
const perPage = 25;

/** Alarms that are shown: above it they are counted. */
const alarmsMax = 20;

/** Something that happened lately. */
export interface RecentEvent {
  readonly time: string;
  readonly text: string;
  readonly database?: string | undefined;
}

export interface Overview {
  readonly verdict: Verdict;
  readonly judged: readonly Judged[];
  readonly alarms: readonly AlarmStatus[];
  readonly events: readonly RecentEvent[];
  readonly histories: ReadonlyMap<string, Readonly<Record<string, LagHistory>>>;
  readonly nowMs: number;
  readonly lagMsMax: number;
  readonly asked: { readonly q: string; readonly page: number };
  readonly mayRestore: boolean;
}

/** What of all databases is on the page that was asked for. */
export function shownOf(
  judged: readonly Judged[],
  { q, page }: Overview["asked"],
): {
  readonly found: readonly Judged[];
  readonly shown: readonly Judged[];
  readonly page: number;
  readonly pages: number;
} {
  const wanted = q.toLowerCase();
  const found =
    wanted === "" ? judged : judged.filter(({ status }) => status.name.toLowerCase().includes(wanted));
  const pages = Math.max(1, Math.ceil(found.length / perPage));
  const at = Math.min(page, pages);
  return { found, shown: found.slice((at - 1) * perPage, at * perPage), page: at, pages };
}

export function overviewMain(view: Overview): Html {
  return html`${verdictBox(view.verdict)}
${databasesSection(view)}
${alarmsSection(view.alarms, view.nowMs)}
${eventsSection(view.events, view.nowMs)}`;
}

/** The one sentence, and what to do. */
function verdictBox({ level, sentence, because, todo }: Verdict): Html {
  return html`<div id="verdict" class="verdict ${level}" role="status" data-live><h1>${sentence}</h1>${
    because === undefined ? none : html`<p>${because}${/[.!?]$/.test(because) ? "" : "."}</p>`
  }${todo === undefined ? none : html`<p><strong>What to do:</strong> ${withCode(todo)}</p>`}</div>`;
}

/** Words between backticks are commands. */
export function withCode(text: string): Html {
  return html`${text.split("`").map((part, at) => (at % 2 === 0 ? html`${part}` : html`<code>${part}</code>`))}`;
}

function databasesSection(view: Overview): Html {
  const { judged, asked } = view;
  if (judged.length === 0) return none;
  const { found, shown, page, pages } = shownOf(judged, asked);
  const isMany = judged.length > perPage || asked.q !== "";
  return html`<section aria-labelledby="databases-title"><h2 id="databases-title">Databases</h2>
${isMany ? search(asked.q) : none}
<div id="databases" data-live>${
    shown.length === 0
      ? html`<p>No database's name has “<bdi>${asked.q}</bdi>” in it. <a href="/">Show all</a></p>`
      : html`<table class="stacked"><caption class="${isMany ? "" : "hidden"}">${captionOf(view, found.length, page)}</caption>
<thead><tr><th scope="col">Database</th><th scope="col">Newest commit</th><th scope="col">Lag of each replica</th><th scope="col">Last restore that was tried</th>${view.mayRestore ? html`<th scope="col">Restore</th>` : none}</tr></thead>
<tbody>${shown.map((one) => row(one, view))}</tbody></table>`
  }${pages > 1 ? pager(asked.q, page, pages) : none}</div></section>`;
}

function captionOf({ judged, asked }: Overview, found: number, page: number): string {
  const [from, to] = [(page - 1) * perPage + 1, Math.min(found, page * perPage)];
  const of =
    asked.q === ""
      ? count(judged.length, "database")
      : `${found} found among ${count(judged.length, "database")}`;
  return `${from} to ${to} of ${of}, those that need somebody first`;
}

function search(q: string): Html {
  return html`<form class="tools" method="get" action="/" role="search"><label>Name <input type="search" name="q" value="${q}" maxlength="64" autocomplete="off"></label><button>Find</button></form>`;
}

function pager(q: string, page: number, pages: number): Html {
  const href = (to: number): string =>
    `/?${new URLSearchParams({ ...(q === "" ? {} : { q }), page: String(to) })}`;
  return html`<nav class="pages" aria-label="Pages">${
    page > 1 ? html`<a class="button" rel="prev" href="${href(page - 1)}">Before</a>` : none
  }<span>Page ${page} of ${pages}</span>${
    page < pages ? html`<a class="button" rel="next" href="${href(page + 1)}">Next</a>` : none
  }</nav>`;
}

const levelWords: Readonly<Record<Level, string>> = {
  unsafe: "not safe",
  look: "needs a look",
  unknown: "looking",
  safe: "safe",
  ended: "no longer backed up",
};

/** The level in words and colour. */
export function badge(level: Level): Html {
  return html`<span class="badge ${level}">${levelWords[level]}</span>`;
}

function row({ status, standing }: Judged, view: Overview): Html {
  const { name, txid, time } = status;
  return html`<tr><th scope="row"><a href="${pathOf(name)}"><bdi>${name}</bdi></a> ${badge(standing.level)}${
    standing.level === "safe" ? none : html`<div class="small why">${standing.what}</div>`
  }</th><td data-label="Newest commit">${ago(time, view.nowMs)}<div class="small dim">${txIdMark(txid)}</div></td><td class="block" data-label="Lag of each replica">${lags(status, view)}</td><td data-label="Last restore that was tried">${verifiedMark(status, view.nowMs)}</td>${
    view.mayRestore
      ? html`<td class="whole"><a href="${pathOf(name)}#restore-title">Choose a point<span class="hidden"> of ${name}</span></a></td>`
      : none
  }</tr>`;
}

function lags({ name, replicas }: DatabaseStatus, { histories, lagMsMax }: Overview): Html {
  if (replicas.length === 0) return html`<span class="bad">no replica</span>`;
  const lines = replicas.map((replica) => sparkline(histories.get(name)?.[replica.name], lagMsMax));
  const hasLines = lines.some((line) => line !== undefined);
  return html`<ul class="lags${hasLines ? " drawn" : ""}">${replicas.map((replica, at) => {
    const notes = replicaNotes(replica);
    return html`<li><span class="value">${lagWord(replica, lagMsMax)}</span>${
      hasLines ? html`<span>${lines[at] ?? none}</span>` : none
    }<span class="small"><bdi>${replica.name}</bdi>${notes === "" ? none : html` <span class="warn">${notes}</span>`}</span></li>`;
  })}</ul>`;
}

/** The lag in words; what is more than it may be stands out. */
export function lagWord({ lagMs }: ReplicaStatus, lagMsMax: number): Html {
  if (lagMs === null) return html`<span class="dim">unknown</span>`;
  const word = spanWord(lagMs);
  return lagMs > lagMsMax ? html`<span class="bad">${word}</span>` : html`${word}`;
}

/** What is not as it should be with a replica, in a few words. */
export function replicaNotes({ breaker, needsRepair, deadLetters, quarantined }: ReplicaStatus): string {
  return [
    ...(breaker === "open" ? ["away"] : breaker === "half-open" ? ["being asked"] : []),
    ...(needsRepair ? ["needs repair"] : []),
    ...(deadLetters > 0 ? [`${deadLetters} set aside`] : []),
    ...(quarantined > 0 ? [`${quarantined} quarantined`] : []),
  ].join(", ");
}

/** The oldest of what was verified last in each replica: a chain is as strong as that. */
function verifiedMark({ replicas }: DatabaseStatus, nowMs: number): Html {
  const known = replicas.flatMap(({ verified }) => verified ?? []);
  const bad = known.find(({ verdict }) => verdict !== "FOUND");
  if (bad !== undefined) return html`<span class="bad">${bad.verdict}</span> ${ago(bad.time, nowMs)}`;
  const [oldest] = known.toSorted((a, b) => Date.parse(a.time) - Date.parse(b.time));
  if (oldest === undefined) return html`<span class="dim">none yet</span>`;
  const missing = replicas.length - known.length;
  return html`sound, ${ago(oldest.time, nowMs)}${missing > 0 ? html`<div class="small dim">${count(missing, "replica")} not yet</div>` : none}`;
}

/** Alarms with what to do. */
export function alarmsSection(alarms: readonly AlarmStatus[], nowMs: number): Html {
  return html`<section aria-labelledby="alarms-title"><h2 id="alarms-title">Alarms</h2><div id="alarms" data-live>${
    alarms.length === 0
      ? html`<p class="dim">None.</p>`
      : html`<ul class="plain">${alarms.slice(0, alarmsMax).map((alarm) => alarmItem(alarm, nowMs))}</ul>${
          alarms.length > alarmsMax
            ? html`<p class="dim">and ${alarms.length - alarmsMax} more: <code>pageferry status</code> lists them.</p>`
            : none
        }`
  }</div></section>`;
}

function alarmItem({ code, database, replica, message, hint, since }: AlarmStatus, nowMs: number): Html {
  const where = [
    ...(database === undefined ? [] : [html`<a href="${pathOf(database)}"><bdi>${database}</bdi></a>`]),
    ...(replica === undefined ? [] : [html`<bdi>${replica}</bdi>`]),
  ];
  return html`<li><div><code class="warn">${code}</code> ${where.map((one) => html`· ${one} `)}<span class="dim">· since ${ago(since, nowMs)}</span></div><div><bdi>${message}</bdi></div><div class="small dim">${withCode(hint)}</div></li>`;
}

function eventsSection(events: readonly RecentEvent[], nowMs: number): Html {
  if (events.length === 0) return html`<div id="events" data-live></div>`;
  return html`<section aria-labelledby="events-title"><h2 id="events-title">Recent events</h2><div id="events" data-live><ul class="plain">${events.map(
    ({ time, text, database }) =>
      html`<li>${ago(time, nowMs)} ${database === undefined ? none : html`<a href="${pathOf(database)}"><bdi>${database}</bdi></a> `}<bdi>${text}</bdi></li>`,
  )}</ul></div></section>`;
}
