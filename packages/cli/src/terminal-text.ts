// Bytes as text that a terminal may be given. Of the controls it gets tabs and line ends alone: others move its cursor, or more.

const unprintable = /[^\P{C}\t\n]|[\p{Zl}\p{Zp}]/u;

/** The bytes as text; `undefined` where they are none, or hold what does not print. */
export function terminalText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return unprintable.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** A name on one line: what does not print is a question mark. */
export function printable(name: string): string {
  return name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}
