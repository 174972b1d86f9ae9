// What a database takes in each of its replicas, what that will cost, and how long it would take to have it back: docs/operations.md#status.

import type { ReplicaStatus } from "../status-replica.ts";
import { type Html, html, none } from "./html.ts";
import { bytesWord, count, spanWord } from "./words.ts";

type Figures = Pick<ReplicaStatus, "name" | "storage" | "month" | "restore">;

export function storageSection(replicas: readonly Figures[]): Html {
  if (replicas.length === 0) return none;
  return html`<section aria-labelledby="storage-title"><h2 id="storage-title">What it takes</h2><div id="storage" data-live><table class="stacked"><thead><tr><th scope="col">Replica</th><th scope="col">Stored</th><th scope="col">A month, as it goes now</th><th scope="col">A restore of the newest point</th></tr></thead><tbody>${replicas.map(
    (replica) =>
      html`<tr><th scope="row"><bdi>${replica.name}</bdi></th><td data-label="Stored">${stored(replica)}</td><td data-label="A month, as it goes now">${month(replica)}</td><td data-label="A restore of the newest point">${restore(replica)}</td></tr>`,
  )}</tbody></table></div></section>`;
}

function stored({ storage }: Figures): Html {
  if (storage === null) return html`<span class="dim">not listed yet</span>`;
  const { bytes, objects, amplification } = storage;
  const times = amplification === null ? "" : `, ${timesWord(amplification)} times its newest snapshot`;
  return html`${bytesWord(bytes)} <span class="dim">in ${count(objects, "object")}${times}</span>`;
}

/** "1.3", "27": of what is many times as much, nobody reads the fraction. */
function timesWord(times: number): string {
  return times >= 10 ? Math.round(times).toLocaleString("en") : times.toFixed(1);
}

function month({ storage, month: projected }: Figures): Html {
  if (projected === null)
    return html`<span class="dim">${storage === null ? "–" : "known after an hour"}</span>`;
  const { requests, usd } = projected;
  const asked = html`${count(requests, "request")}`;
  return usd === null ? asked : html`${usdWord(usd)} <span class="dim">for ${asked} and the storage</span>`;
}

/** "$0.07"; less than half a cent is not nothing. */
function usdWord(usd: number): string {
  return usd > 0 && usd < 0.005
    ? "less than $0.01"
    : `$${usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

function restore({ restore: predicted }: Figures): Html {
  if (predicted === null) return html`<span class="dim">–</span>`;
  const { ms, bytes, objects } = predicted;
  return html`about ${spanWord(ms)} <span class="dim">for ${bytesWord(bytes)} in ${count(objects, "object")}</span>`;
}
