// A part of a value as it can be shown: as text where it is some, else as bytes in hex. Nothing of it is lost, and nothing of it is markup.

/** Shown at a time: some screens full. */
export const partBytes = 4096;

/** In a line of hex digits. */
const lineBytes = 16;

/** Eight bytes fit on a phone. */
const groupBytes = 8;

export interface HexLine {
  /** Where it begins in the value: hex digits. */
  readonly at: string;
  readonly groups: readonly string[];
  /** The same as ASCII, dots for what is none. */
  readonly text: string;
}

export type Shown =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "hex"; readonly lines: readonly HexLine[] };

/** Where parts lie in a value: `offset` in bytes, at the beginning of one. */
export interface Part {
  readonly offset: number;
  /** One after the last byte. */
  readonly end: number;
  readonly before: number | undefined;
  readonly next: number | undefined;
}

/** The part that holds a byte, or the last one. */
export function partAt(wanted: number, bytes: number): Part {
  const last = Math.max(0, Math.ceil(bytes / partBytes) - 1) * partBytes;
  const offset = Math.min(last, Math.floor(wanted / partBytes) * partBytes);
  const end = Math.min(bytes, offset + partBytes);
  return {
    ...{ offset, end },
    before: offset === 0 ? undefined : offset - partBytes,
    next: end === bytes ? undefined : end,
  };
}

/** Shows a part. Text that a boundary between parts cuts in the middle of a character is text still: the bytes of that stand as `\xe2`. */
export function shownPart(bytes: Uint8Array, { offset, before, next }: Part, wantsHex = false): Shown {
  const text = wantsHex ? undefined : textOf(bytes, before !== undefined, next !== undefined);
  return text === undefined ? { kind: "hex", lines: hexLines(bytes, offset) } : { kind: "text", text };
}

/** Tab, line feed and carriage return are in many texts; any other control says that this is none. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const binary = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

function textOf(bytes: Uint8Array, isCutBefore: boolean, isCutAfter: boolean): string | undefined {
  const from = isCutBefore ? continuationsAt(bytes) : 0;
  const to = isCutAfter ? bytes.length - unfinishedAt(bytes) : bytes.length;
  if (from > to) return undefined;
  try {
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const text = utf8.decode(bytes.subarray(from, to));
    if (binary.test(text)) return undefined;
    const lines = text.replaceAll("\r\n", "\n");
    return `${escaped(bytes.subarray(0, from))}${lines}${escaped(bytes.subarray(to))}`;
  } catch {
    return undefined;
  }
}

/** A character has at most three bytes after its first. */
function continuationsAt(bytes: Uint8Array): number {
  const found = bytes.subarray(0, 3).findIndex((byte) => (byte & 0xc0) !== 0x80);
  return found === -1 ? Math.min(3, bytes.length) : found;
}

/** How many bytes at the end begin a character that goes on in the next part. */
function unfinishedAt(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes.at(-back) ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

function escaped(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

function hexLines(bytes: Uint8Array, offset: number): HexLine[] {
  const lines: HexLine[] = [];
  for (let at = 0; at < bytes.length; at += lineBytes) {
    const line = bytes.subarray(at, at + lineBytes);
    const digits = [...line].map((byte) => byte.toString(16).padStart(2, "0"));
    lines.push({
      at: (offset + at).toString(16).padStart(8, "0"),
      groups: [digits.slice(0, groupBytes), digits.slice(groupBytes)]
        .filter((group) => group.length > 0)
        .map((group) => group.join(" ")),
      text: [...line].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join(""),
    });
  }
  return lines;
}
