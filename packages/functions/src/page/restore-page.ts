// The page before a restore: which point it would be, what the file means to its application, and the ways to get it.

import {
  formatStateHash,
  formatTxId,
  isAcknowledged,
  type Manifest,
  type Profile,
  type RestoreTarget,
} from "@pageferry/format";
import { type Html, html, none } from "./html.ts";
import { pathOf } from "./layout.ts";
import { bytesWord, count, exact, exactTime, spanWord, txIdMark } from "./words.ts";

export interface RestoreView {
  readonly database: string;
  readonly asked: RestoreTarget;
  readonly manifest: Manifest;
  readonly profile: Profile;
  /** Of this host, as the browser calls it. */
  readonly origin: string;
  /** What was typed where a word is asked for; `undefined`: nothing yet. */
  readonly typed: string | undefined;
  /** Whether the host sends whole files. */
  readonly canStream: boolean;
  readonly mayInspect: boolean;
  readonly mayOperate: boolean;
  readonly nowMs: number;
}

export function restoreMain(view: RestoreView): Html {
  const { database, manifest, profile, typed } = view;
  const isKnown = isAcknowledged(profile, typed);
  return html`<h1>Restore <bdi>${database}</bdi></h1>
${pointSection(view)}
<section aria-labelledby="means-title"><h2 id="means-title">What the file will mean</h2><p>${
    profile.name === "own" ? none : html`This is taken for a database of <strong>${profile.title}</strong>. `
  }${profile.means}</p>${profile.acknowledgement === undefined ? none : harm(view, isKnown)}</section>
${isKnown ? html`${getSection(view)}${stepsSection(profile, fileName(view))}` : none}
${view.mayOperate ? pinSection(database, manifest) : none}`;
}

function pointSection({ database, asked, manifest, mayInspect, nowMs }: RestoreView): Html {
  const { txId, generation, stampMs, predictedBytes, objects, stateHash, predictedSeconds, warnings } = {
    predictedSeconds: undefined,
    ...manifest,
  };
  const aroundMs = 1_800_000;
  const around =
    stampMs === null
      ? {}
      : { from: new Date(stampMs - aroundMs).toISOString(), to: new Date(stampMs + aroundMs).toISOString() };
  return html`<section aria-labelledby="point-title"><h2 id="point-title">The point</h2>
<dl class="facts"><dt>Committed</dt><dd>${exact(stampMs, nowMs)}${distance(asked, stampMs)}</dd><dt>Transaction</dt><dd>${txIdMark(formatTxId(txId))} of generation <code>${generation}</code></dd><dt>To fetch</dt><dd>${bytesWord(predictedBytes)} in ${count(objects.length, "object")}${predictedSeconds === undefined ? none : html`, about ${spanWord(predictedSeconds * 1000)}`}</dd>${
    stateHash === undefined
      ? none
      : html`<dt>State hash</dt><dd><code>${formatStateHash(stateHash)}</code>: the restored file is checked against it</dd>`
  }</dl>${warnings.map((warning) => html`<p class="warn"><bdi>${warning}</bdi></p>`)}
<p><a href="${pathOf(database, "", around)}#timeline">Choose another point near it</a>${
    mayInspect
      ? html` · <a href="${pathOf(database, "/inspect", { txid: formatTxId(txId), generation })}">Look inside it</a>`
      : none
  }</p></section>`;
}

function distance({ timestampMs }: RestoreTarget, stampMs: number | null): Html {
  if (timestampMs === undefined || stampMs === null) return none;
  const word = timestampMs === stampMs ? "exactly then" : `${spanWord(timestampMs - stampMs)} before it`;
  return html`<div class="small dim">You asked for ${exactTime(timestampMs)}; the newest point not later is ${word}.</div>`;
}

function harm({ database, manifest, profile, typed }: RestoreView, isKnown: boolean): Html {
  const { word, harm: what } = profile.acknowledgement ?? { word: "", harm: "" };
  if (isKnown) return html`<p class="harm"><strong>${what}</strong> You said that you know.</p>`;
  const query = { txid: formatTxId(manifest.txId), generation: manifest.generation };
  const wrong =
    typed === undefined
      ? none
      : html`<p class="bad" role="alert" id="wrong">That is not it: the words are “${word}”.</p>`;
  return html`<div class="harm"><p><strong>${what}</strong></p>${stepList(profile.steps)}<form class="stack" method="post" action="${pathOf(database, "/restore", query)}">${wrong}<label>To get the file all the same, type: ${word}<input type="text" name="acknowledge" required maxlength="64" autocomplete="off" autocapitalize="off" spellcheck="false"${typed === undefined ? none : html` aria-describedby="wrong" aria-invalid="true"`}></label><button>I know what it does</button></form></div>`;
}

function fileName({ database, manifest }: RestoreView): string {
  return `${database}-${formatTxId(manifest.txId)}.db`;
}

function getSection(view: RestoreView): Html {
  const { database, manifest, profile, origin, canStream } = view;
  const [txid, { generation }] = [formatTxId(manifest.txId), manifest];
  const file = fileName(view);
  const api = `${origin}/v1/databases/${encodeURIComponent(database)}`;
  const word = profile.acknowledgement?.word;
  const query = new URLSearchParams({
    ...{ txid, generation },
    ...(word === undefined ? {} : { acknowledge: word }),
  }).toString();
  const said = word === undefined ? "" : ` --acknowledge "${word}"`;
  const restore = `pageferry restore -o ${file} --txid ${txid} --generation ${generation}${said} ${api}`;
  const curl = `curl -f -o ${file} -H "Authorization: Bearer $PAGEFERRY_TOKEN" '${api}/restore?${query}'`;
  const download = html`<p><a class="button main" href="/v1/databases/${encodeURIComponent(database)}/restore?${query}" download="${file}">Download ${file}</a> <span class="dim small">the whole database, as it was</span></p>`;
  return html`<section aria-labelledby="get-title"><h2 id="get-title">Get the file</h2>
${canStream ? download : none}
<p>On a machine with pageferry; it checks the whole file before it gives it its name, and never touches one that is there. PAGEFERRY_TOKEN holds a token with the scope <code>restore</code>.</p>
<pre class="command" id="command">${restore}</pre>
${canStream ? html`<p>With nothing but curl:</p><pre class="command" id="curl">${curl}</pre>` : none}</section>`;
}

function stepsSection({ name, steps }: Profile, file: string): Html {
  return html`<section aria-labelledby="then-title"><h2 id="then-title">Then</h2><p>Look at it before you use it: <code>pageferry check ${file}</code> does what bbolt's own check does.</p>${
    name === "own" ? stepList(steps) : html`<p>The application's own way:</p>${stepList(steps)}`
  }</section>`;
}

function stepList(steps: readonly string[]): Html {
  return html`<ol>${steps.map((step) => html`<li>${step}</li>`)}</ol>`;
}

function pinSection(database: string, { txId, generation }: Manifest): Html {
  return html`<section aria-labelledby="pin-title"><h2 id="pin-title">Keep this point</h2><p>Retention lets points go. One that is pinned stays until somebody lets it go.</p><form class="tools" method="post" action="${pathOf(database, "/pin")}"><input type="hidden" name="txid" value="${formatTxId(txId)}"><input type="hidden" name="generation" value="${generation}"><label>Why, in a few words <input type="text" name="note" maxlength="200" autocomplete="off"></label><button>Pin it</button></form></section>`;
}
