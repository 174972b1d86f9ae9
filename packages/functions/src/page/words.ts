// Times, sizes and ids as the page says them: short to read, exact to copy.

import { type Html, html } from "./html.ts";

const units: readonly (readonly [ms: number, word: string])[] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
];

/** "0 s", "1.2 s", "41 s", "3 min", "5 h", "12 d". */
export function spanWord(ms: number): string {
  if (ms < 50) return "0 s";
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const [unitMs, word] = units.find(([least]) => ms >= least * (least === 1000 ? 1 : 2)) ?? [1000, "s"];
  return `${Math.round(ms / unitMs)} ${word}`;
}

/** "just now", "12 s ago", "in 5 min". */
export function agoWord(ms: number, nowMs: number): string {
  const ago = nowMs - ms;
  if (Math.abs(ago) < 1000) return "just now";
  const word = spanWord(Math.max(1000, Math.round(Math.abs(ago) / 1000) * 1000)).replace(".0", "");
  return ago > 0 ? `${word} ago` : `in ${word}`;
}

/** "2026-11-28 08:34:33 UTC", with milliseconds where there are any. */
export function exactTime(ms: number): string {
  return `${new Date(ms).toISOString().replace("T", " ").replace(".000", "").replace("Z", "")} UTC`;
}

/** A time as people ask for it, with the exact one to hover, to copy and for machines. */
export function ago(iso: string | null, nowMs: number, otherwise = "–"): Html {
  const ms = iso === null ? Number.NaN : Date.parse(iso);
  if (Number.isNaN(ms)) return html`<span class="dim">${otherwise}</span>`;
  const machine = new Date(ms).toISOString();
  return html`<time datetime="${machine}" title="${exactTime(ms)}" data-ago>${agoWord(ms, nowMs)}</time>`;
}

/** Both at once, for where the exact one matters. */
export function exact(ms: number | null, nowMs: number, otherwise = "time unknown"): Html {
  if (ms === null) return html`<span class="dim">${otherwise}</span>`;
  const machine = new Date(ms).toISOString();
  return html`<time datetime="${machine}">${exactTime(ms)}</time> <span class="dim">${ago(machine, nowMs)}</span>`;
}

const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** "512 B", "1.5 MiB". */
export function bytesWord(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < binary.length - 1; unit += 1) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${binary[unit]}`;
}

/** A transaction id whose zeros step back. */
export function txIdMark(hex: string | null): Html {
  if (hex === null) return html`<span class="dim">–</span>`;
  const [, zeros = "", digits = ""] = /^(0*)(.*)$/.exec(hex) ?? [];
  return html`<code class="id"><span class="zeros">${zeros}</span>${digits}</code>`;
}

/** "1 database", "3 databases". */
export function count(number: number, word: string): string {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}
