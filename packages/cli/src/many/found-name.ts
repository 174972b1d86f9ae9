// What a database that was found is called: made from its path below the directory alone, so that it is the same after every start,
// whatever else lies there, and no two files have one name.

import { createHash } from "node:crypto";

/** How a directory names what is found in it. */
export interface Naming {
  readonly pattern: string;
  /** The `name` of the entry. */
  readonly prefix?: string | undefined;
}

/** What a database's name may be long. */
const nameCharsMax = 64;

/** 48 bits: among the ten thousand names of an agent two are alike once in millions. */
const hashChars = 12;

const hashPattern = new RegExp(`-[0-9a-f]{${hashChars}}$`);

const wordPattern = /^[A-Za-z0-9_-]+$/;

/** The extension of all that a pattern matches, where it has only one end. */
const extensionPattern = /^[^{}()[\]|]*(\.[A-Za-z0-9_-]+)$/;

/**
 * `a/b/app.db` is `a.b.app`; behind `*.db` the extension says nothing, behind `*` it stays. Where that could be another file's name, too,
 * or is none, a hash of the path stands behind what can be read of it.
 */
export function foundName(relativePath: string, { pattern, prefix }: Naming): string {
  const extension = extensionPattern.exec(pattern)?.[1] ?? "";
  const said = relativePath.slice(0, relativePath.length - extension.length);
  const words = said.split("/");
  const before = prefix === undefined ? "" : `${prefix}.`;
  const plain = `${before}${words.join(".")}`;
  if (isPlain(words, extension !== "") && plain.length <= nameCharsMax && !hashPattern.test(plain))
    return plain;
  const hash = createHash("sha256").update(relativePath).digest("hex").slice(0, hashChars);
  const readable = words
    .map((word) => word.replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^[-_]+|[-_]+$/g, ""))
    .filter((word) => word !== "")
    .join(".");
  const room = nameCharsMax - before.length - hashChars - 1;
  const shown = readable.slice(0, room).replace(/[._-]+$/, "");
  return `${before}${shown === "" ? "database" : shown}-${hash}`;
}

/** Whether the words, joined by dots, can be taken apart again in one way only: none has a dot of its own but for the file's extension. */
function isPlain(words: readonly string[], isBare: boolean): boolean {
  const directories = words.slice(0, -1);
  const file = words.at(-1) ?? "";
  const isFilePlain = isBare || words.length === 1 ? wordPattern.test(file) : false;
  const hasOneExtension = !isBare && /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(file);
  return (
    (isFilePlain || hasOneExtension) &&
    directories.every((word) => wordPattern.test(word)) &&
    /^[A-Za-z0-9]/.test(words[0] ?? "")
  );
}
