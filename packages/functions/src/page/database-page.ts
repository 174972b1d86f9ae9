// The page of one database: how it stands, what can be restored, and where it is kept.

import {
  counted,
  formatTxId,
  type GenerationTimeline,
  type Point,
  type Profile,
  type TxId,
} from "@pageferry/format";
import type { LagHistory } from "../lag-history.ts";
import type { PinnedPoint } from "../pins.ts";
import type { ReplicaStatus } from "../status-replica.ts";
import type { ArchiveView } from "./archive-view.ts";
import { type Html, html, none } from "./html.ts";
import { pathOf } from "./layout.ts";
import { alarmsSection, badge, lagWord, replicaNotes, withCode } from "./overview.ts";
import type { Judged } from "./safety.ts";
import { sparkline } from "./sparkline.ts";
import { storageSection } from "./storage-section.ts";
import { type Chart, chartKey, type Marked, sliceWord, timelineChart } from "./timeline-chart.ts";
import { slicesOf, type Ways, type Window, waysFrom, wholeWindow, windowOf } from "./window.ts";
import { ago, bytesWord, count, exact, exactTime, txIdMark } from "./words.ts";

/** Points in a window that are listed one by one; above it they are counted by slices. */
const listedMax = 40;

/** Older generations that are listed. */
const generationsMax = 20;

export interface DatabaseView {
  readonly judged: Judged;
  /** Absent: only what keeps itself up to date was asked for. */
  readonly archive?: ArchiveView | undefined;
  readonly pins: readonly PinnedPoint[];
  readonly window: Partial<Window>;
  readonly history: Readonly<Record<string, LagHistory>>;
  readonly profile: Profile;
  readonly mayRestore: boolean;
  readonly mayInspect: boolean;
  readonly mayOperate: boolean;
  readonly nowMs: number;
  readonly lagMsMax: number;
}

export function databaseMain(view: DatabaseView): Html {
  const { status, standing } = view.judged;
  const { name } = status;
  const sentence = html`<bdi>${name}</bdi> ${badge(standing.level)}`;
  const said = `${standing.what.charAt(0).toUpperCase()}${standing.what.slice(1)}`;
  return html`<div id="verdict" class="verdict ${standing.level}" role="status" data-live><h1>${sentence}</h1><p>${said}.</p>${
    standing.todo === undefined ? none : html`<p><strong>What to do:</strong> ${withCode(standing.todo)}</p>`
  }</div>
${view.mayRestore ? restoreSection(view) : none}
${view.mayInspect ? inspectSection(name) : none}
${view.archive === undefined ? none : timelineSection(view, view.archive)}
${replicasSection(view)}
${storageSection(status.replicas)}
${pinsSection(view)}
${status.alarms.length === 0 ? none : alarmsSection(status.alarms, view.nowMs)}
${factsSection(view)}`;
}

function restoreSection({ judged, archive, profile, nowMs }: DatabaseView): Html {
  const { name, txid } = judged.status;
  const newest = archive?.points[0];
  const at = newest?.stampMs ?? nowMs;
  return html`<section aria-labelledby="restore-title"><h2 id="restore-title">Restore</h2>
<p class="dim">${profile.name === "own" ? none : html`This looks like a database of ${profile.title}. `}Nothing is changed by looking: the next page says what the file will mean, and gives it to you as a new file.</p>
<form class="tools" method="get" action="${pathOf(name, "/restore")}"><label>The newest point not later than (UTC) <input type="datetime-local" name="timestamp" step="1" required value="${new Date(at).toISOString().slice(0, 19)}"></label><button class="main">Choose this time</button></form>
<p>${newest === undefined ? none : html`<a class="button" href="${pathOf(name, "/restore")}">The newest point</a> ${exact(newest.stampMs, nowMs)}`}</p>
<form class="tools" method="get" action="${pathOf(name, "/restore")}"><label>Or a transaction <input type="text" name="txid" required maxlength="20" pattern="[0-9a-fA-F]{16}|[0-9]{1,15}" title="16 hex digits as they are shown here, or a shorter decimal number" autocomplete="off" spellcheck="false" placeholder="${txid ?? "000000000000002a"}"></label><button>Choose it</button></form></section>`;
}

function inspectSection(name: string): Html {
  return html`<section aria-labelledby="inspect-title"><h2 id="inspect-title">Look inside</h2>
<p class="dim">Buckets, keys and values as they were at any point, without a restore. Each look is logged.</p>
<p><a class="button" href="${pathOf(name, "/inspect")}">Look inside the newest point</a></p></section>`;
}

function timelineSection(view: DatabaseView, archive: ArchiveView): Html {
  const { name } = view.judged.status;
  const { points, generations, warnings } = archive;
  if (points.length === 0) {
    return html`<section id="timeline" aria-labelledby="timeline-title"><h2 id="timeline-title">Restorable points</h2><p>None yet: the first snapshot has not been stored.</p>${warningList(warnings)}</section>`;
  }
  const whole = wholeWindow(points, view.nowMs);
  const window = windowOf(view.window, whole);
  const chart: Chart = {
    database: name,
    window,
    generations,
    points,
    ...marksOf(view),
    stampOf: archive.stampOf,
  };
  const inside = points.filter(
    ({ stampMs }) => stampMs !== null && stampMs >= window.fromMs && stampMs <= window.toMs,
  );
  const untimed = points.filter(({ stampMs }) => stampMs === null);
  return html`<section id="timeline" aria-labelledby="timeline-title"><h2 id="timeline-title">Restorable points</h2>
<p class="dim">${count(points.length, "point")} in ${count(generations.length, "generation")}; here ${inside.length === points.length ? "all of them" : inside.length.toLocaleString("en")}, from ${edge(window.fromMs)} to ${edge(window.toMs)}.</p>
${ways(name, window, whole, view.nowMs)}
${timelineChart(chart)}
${chartKey}
${inside.length <= listedMax ? pointTable(inside, view, "Points in this window, newest first") : sliceTable(chart, inside)}
${untimed.length === 0 ? none : pointTable(untimed.slice(0, listedMax), view, "Points whose time nothing tells")}
${holeList(archive, view.nowMs)}${warningList(warnings)}
${generations.length > 1 ? generationTable(generations, view) : none}</section>`;
}

/** An end of a window, to the second. */
function edge(ms: number): Html {
  const whole = Math.round(ms / 1000) * 1000;
  return html`<time datetime="${new Date(whole).toISOString()}">${exactTime(whole)}</time>`;
}

function marksOf({ judged, pins }: DatabaseView): {
  readonly pins: readonly Marked[];
  readonly verified: readonly Marked[];
} {
  return {
    pins: pins.map(({ generation, txId }) => ({ generation, txid: formatTxId(txId) })),
    verified: judged.status.replicas.flatMap(({ verified }) =>
      verified === null
        ? []
        : [
            {
              generation: verified.generation,
              txid: verified.txid,
              isSound: verified.verdict === "FOUND" || verified.verdict === "LATE",
            },
          ],
    ),
  };
}

const spans: readonly (readonly [word: string, ms: number])[] = [
  ["last 10 min", 600_000],
  ["last hour", 3_600_000],
  ["last day", 86_400_000],
  ["last week", 604_800_000],
];

function ways(name: string, window: Window, whole: Window, nowMs: number): Html {
  const link = (word: string, to: Window | undefined, isHere = false): Html =>
    to === undefined
      ? html`<li><a class="button" href="${pathOf(name)}#timeline"${isHere ? html` aria-current="true"` : none}>${word}</a></li>`
      : html`<li><a class="button" href="${pathOf(name, "", { from: new Date(to.fromMs).toISOString(), to: new Date(to.toMs).toISOString() })}#timeline">${word}</a></li>`;
  const { earlier, later, wider }: Ways = waysFrom(window, whole);
  const wholeMs = whole.toMs - whole.fromMs;
  const lately = spans.filter(([, ms]) => ms < wholeMs);
  return html`<ul class="ways">${link("all", undefined, wider === undefined)}${lately.map(([word, ms]) => link(word, { fromMs: Math.max(nowMs, whole.toMs) - ms, toMs: Math.max(nowMs, whole.toMs) }))}${
    wider === undefined
      ? none
      : html`${link("◀ earlier", earlier)}${link("later ▶", later)}${link("wider", wider)}`
  }</ul>`;
}

const chooseLink = (name: string, { generation, txId }: Point, mayRestore: boolean): Html =>
  mayRestore
    ? html`<a href="${pathOf(name, "/restore", { txid: formatTxId(txId), generation })}">Restore<span class="hidden"> transaction ${formatTxId(txId)}</span></a>`
    : none;

function pointTable(points: readonly Point[], view: DatabaseView, caption: string): Html {
  const { name } = view.judged.status;
  if (points.length === 0) return html`<p>No point lies in this window.</p>`;
  const pinned = new Set(view.pins.map(({ generation, txId }) => `${generation} ${txId}`));
  return html`<table class="stacked"><caption>${caption}</caption><thead><tr><th scope="col">Commit</th><th scope="col">Transaction</th><th scope="col">Object</th><th scope="col" class="number">Size</th><th scope="col">Choose</th></tr></thead><tbody>${points.map(
    (point) =>
      html`<tr><td>${exact(point.stampMs, view.nowMs)}</td><td data-label="Transaction">${txIdMark(formatTxId(point.txId))}</td><td data-label="Object">${point.kind}${pinned.has(`${point.generation} ${point.txId}`) ? html` <span class="warn">pinned</span>` : none}</td><td class="number" data-label="Size">${bytesWord(point.size)}</td><td>${chooseLink(name, point, view.mayRestore)}</td></tr>`,
  )}</tbody></table>`;
}

function sliceTable({ database, window }: Chart, inside: readonly Point[]): Html {
  const slices = slicesOf(window, inside).filter(({ points }) => points > 0);
  return html`<table><caption>The same in words, newest first (times in UTC)</caption><thead><tr><th scope="col">From</th><th scope="col" class="number">Points</th><th scope="col" class="number spare">Snapshots</th><th scope="col">Newest</th></tr></thead><tbody>${slices
    .toReversed()
    .map(({ fromMs, toMs, points, snapshots, last }) => {
      const href = pathOf(database, "", {
        from: new Date(fromMs).toISOString(),
        to: new Date(toMs).toISOString(),
      });
      const newest =
        last === undefined
          ? none
          : html`${new Date(last.stampMs ?? 0).toISOString().slice(11, 19)} <span class="dim spare">${txIdMark(formatTxId(last.txId))}</span>`;
      return html`<tr><td class="whole"><a href="${href}#timeline">${sliceWord(fromMs, toMs - fromMs)}<span class="hidden">: look closer</span></a></td><td class="number">${points}</td><td class="number spare">${snapshots}</td><td>${newest}</td></tr>`;
    })}</tbody></table>`;
}

function generationTable(generations: readonly GenerationTimeline[], { nowMs }: DatabaseView): Html {
  return html`<h3>Generations</h3><table class="stacked"><caption>A generation is one unbroken history of the file; a file that was replaced begins another.</caption><thead><tr><th scope="col">Generation</th><th scope="col">Points</th><th scope="col">From</th><th scope="col">To</th><th scope="col">How finely</th><th scope="col" class="number">Size</th></tr></thead><tbody>${generations
    .slice(0, generationsMax)
    .map(({ generation, points, stretches, bytes }) => {
      const [newest, oldest] = [stretches[0], stretches.at(-1)];
      const words = [...new Set(stretches.map(({ granularity }) => granularity.word))].join(", ");
      return html`<tr><td><code>${generation}</code></td><td data-label="Points">${points}</td><td data-label="From">${isoAgo(oldest?.from.stampMs, nowMs)}</td><td data-label="To">${isoAgo(newest?.to.stampMs, nowMs)}</td><td data-label="How finely">${words}</td><td class="number" data-label="Size">${bytesWord(bytes)}</td></tr>`;
    })}</tbody></table>${generations.length > generationsMax ? html`<p class="dim">and ${counted(generations.length - generationsMax, "older one")}: <code>pageferry points --timeline</code></p>` : none}`;
}

const isoAgo = (ms: number | null | undefined, nowMs: number): Html =>
  ago(ms === null || ms === undefined ? null : new Date(ms).toISOString(), nowMs);

function holeList({ generations, stampOf }: ArchiveView, nowMs: number): Html {
  const holes = generations.flatMap(({ generation, holes: all }) =>
    all.filter(({ unreachable }) => unreachable > 0).map((hole) => ({ generation, ...hole })),
  );
  if (holes.length === 0) return none;
  const end = (generation: string, id: TxId): Html => {
    const ms = stampOf(generation, formatTxId(id));
    return html`${ms === undefined ? none : html`${exact(ms, nowMs)}, `}${txIdMark(formatTxId(id))}`;
  };
  return html`<h3>What cannot be restored</h3><ul class="plain">${holes
    .slice(0, generationsMax)
    .map(({ generation, after, before, missing, unreachable }) => {
      const from = after === null ? html`from the beginning` : html`after ${end(generation, after)}`;
      const to = before === null ? html`on` : html`until ${end(generation, before)}`;
      return html`<li>In <code>${generation}</code> nothing can be restored ${from} ${to}: ${count(unreachable, "object")} there cannot be reached, because transactions ${txIdMark(formatTxId(missing.from))} to ${txIdMark(formatTxId(missing.to))} are missing.</li>`;
    })}</ul>`;
}

function warningList(warnings: readonly string[]): Html {
  return warnings.length === 0
    ? none
    : html`<ul>${warnings.map((warning) => html`<li class="warn"><bdi>${warning}</bdi></li>`)}</ul>`;
}

function replicasSection({ judged, history, nowMs, lagMsMax }: DatabaseView): Html {
  const { replicas } = judged.status;
  return html`<section aria-labelledby="replicas-title"><h2 id="replicas-title">Replicas</h2><div id="replicas" data-live><table class="stacked"><thead><tr><th scope="col">Replica</th><th scope="col">Lag</th><th scope="col">Newest there</th><th scope="col">Waiting</th><th scope="col">Last restore that was tried</th><th scope="col">State</th></tr></thead><tbody>${replicas.map(
    (replica) =>
      html`<tr><th scope="row"><bdi>${replica.name}</bdi></th><td data-label="Lag" class="whole">${sparkline(history[replica.name], lagMsMax) ?? none}${lagWord(replica, lagMsMax)}</td><td data-label="Newest there">${txIdMark(replica.txid)} ${replica.time === null ? none : ago(replica.time, nowMs)}</td><td data-label="Waiting">${replica.waiting === 0 ? html`<span class="dim">nothing</span>` : `${replica.waiting} (${bytesWord(replica.waitingBytes)})`}</td><td data-label="Last restore that was tried">${verified(replica, nowMs)}</td><td data-label="State">${stateOf(replica)}</td></tr>`,
  )}</tbody></table></div></section>`;
}

function verified({ verified: last }: ReplicaStatus, nowMs: number): Html {
  if (last === null) return html`<span class="dim">none yet</span>`;
  const word = last.verdict === "FOUND" ? html`sound` : html`<span class="bad">${last.verdict}</span>`;
  return html`${word} at ${txIdMark(last.txid)}, ${ago(last.time, nowMs)}`;
}

function stateOf(replica: ReplicaStatus): Html {
  const notes = replicaNotes(replica);
  const word = notes === "" ? html`ok` : html`<span class="warn">${notes}</span>`;
  return html`${word}${replica.error === null ? none : html`<div class="small dim"><bdi>${replica.error}</bdi></div>`}`;
}

function pinsSection({ judged, pins, nowMs, mayOperate, archive, mayRestore }: DatabaseView): Html {
  const { name } = judged.status;
  if (archive === undefined) return none;
  return html`<section aria-labelledby="pins-title"><h2 id="pins-title">Pinned points</h2>${
    pins.length === 0
      ? html`<p class="dim">None. A pinned point is kept until somebody lets it go; it can be pinned where it is restored.</p>`
      : html`<ul class="plain">${pins.map(({ generation, txId, note, createdAtMs }) => {
          const txid = formatTxId(txId);
          return html`<li>${txIdMark(txid)} ${exact(archive.stampOf(generation, txid) ?? null, nowMs)}${note === null ? none : html` · “<bdi>${note}</bdi>”`} <span class="dim">· pinned ${isoAgo(createdAtMs, nowMs)}</span> ${mayRestore ? html`<a href="${pathOf(name, "/restore", { txid, generation })}">Restore<span class="hidden"> the pinned ${txid}</span></a>` : none}${
            mayOperate
              ? html` <form class="tools" method="post" action="${pathOf(name, "/unpin")}"><input type="hidden" name="txid" value="${txid}"><input type="hidden" name="generation" value="${generation}"><button class="quiet">Let it go<span class="hidden">: ${txid}</span></button></form>`
              : none
          }</li>`;
        })}</ul>`
  }</section>`;
}

function factsSection({ judged, nowMs, profile }: DatabaseView): Html {
  const { generation, host, epoch, txid, time, lastHeard, waiting } = judged.status;
  return html`<section aria-labelledby="facts-title"><h2 id="facts-title">Facts</h2><div id="facts" data-live><dl class="facts"><dt>Newest commit seen</dt><dd>${txIdMark(txid)} ${time === null ? none : exact(Date.parse(time), nowMs)}</dd><dt>Agent</dt><dd>${host === null ? html`<span class="dim">not heard of</span>` : html`on <bdi>${host}</bdi>, last heard of ${ago(lastHeard, nowMs)}`}</dd><dt>Generation</dt><dd>${generation === null ? "–" : html`<code>${generation}</code>, epoch ${epoch ?? 0}`}</dd><dt>Waiting for a first replica</dt><dd>${waiting === 0 ? "nothing" : count(waiting, "message")}</dd></dl></div><dl class="facts"><dt>Taken for</dt><dd>${profile.title}</dd></dl></section>`;
}
