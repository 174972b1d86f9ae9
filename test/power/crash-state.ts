// What a disk may hold after the power failed: everything that was made durable, and of the rest whatever chance leaves. A write that no fsync of
// its file covers is there, lost or torn at a sector; a name that no fsync of its directory covers is there only if all before it are.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Chance } from "../temporary.ts";
import type { FileOperation } from "./trace.ts";

/** How much of what is not durable a crash takes. */
export interface CrashOptions {
  readonly random: Chance;
  /** The control, in which an fsync makes nothing durable: only this many operations, the first, had reached the disk by themselves. */
  readonly withoutFsync?: number | undefined;
}

interface StoredFile {
  bytes: Uint8Array;
  length: number;
}

/** Files by path, directories as `undefined`. */
export type Tree = ReadonlyMap<string, StoredFile | undefined>;

const sectorBytes = 512;

/** Everything that was done: the disk of a machine that is alive. */
export function withEverything(operations: readonly FileOperation[], root: string): Tree {
  return apply(operations, root, (operation) => operation);
}

/** What one crash leaves. */
export function afterCrash(
  operations: readonly FileOperation[],
  root: string,
  { random, withoutFsync }: CrashOptions,
): Tree {
  const isDurable =
    withoutFsync === undefined ? durability(operations) : (index: number) => index < withoutFsync;
  const unsafe = operations.flatMap((one, index) => (isNaming(one) && !isDurable(index) ? [index] : []));
  // Names are journalled in order: what is lost is a tail.
  const cut = unsafe[random.below(unsafe.length + 1)] ?? operations.length;
  const losesAll = random.below(4) === 0;
  return apply(operations, root, (operation, index) => {
    if (isDurable(index)) return operation;
    if (isNaming(operation)) return index < cut ? operation : undefined;
    if (losesAll || random.below(2) === 0) return undefined;
    if (operation.kind !== "write" || random.below(5) > 0) return operation;
    const sectors = Math.ceil(operation.data.length / sectorBytes);
    const data = operation.data.subarray(0, random.below(sectors + 1) * sectorBytes);
    return { ...operation, data };
  });
}

/** Writes a tree below `root` to below `into`. */
export async function writeTree(tree: Tree, root: string, into: string): Promise<void> {
  await mkdir(into, { recursive: true });
  for (const [path, file] of tree) {
    // Nobody holds a log's index in memory any more: SQLite makes it anew.
    if (!path.startsWith(`${root}/`) || path.endsWith("-shm")) continue;
    const target = into + path.slice(root.length);
    if (file === undefined) await mkdir(target, { recursive: true });
    else await writeFile(target, file.bytes.subarray(0, file.length));
  }
}

function isNaming({ kind }: FileOperation): boolean {
  return kind !== "write" && kind !== "truncate" && kind !== "fsync" && kind !== "dirsync";
}

/** Whether an operation, by its index, was covered by an fsync of its file or of its directories. */
function durability(operations: readonly FileOperation[]): (index: number) => boolean {
  const coveredOf = new Map<string, number>();
  const birth = new Map<bigint, number>();
  const fileAt = operations.map((operation, index) => {
    if (operation.kind === "create") birth.set(operation.inode, index);
    return "inode" in operation ? `file ${birth.get(operation.inode)}` : "";
  });
  for (const [index, sync] of operations.entries()) {
    if (sync.kind !== "fsync" && sync.kind !== "dirsync") continue;
    const key = sync.kind === "fsync" ? (fileAt[index] as string) : sync.path;
    coveredOf.set(key, Math.max(coveredOf.get(key) ?? 0, sync.covered));
  }
  const covers = (key: string, index: number) => (coveredOf.get(key) ?? 0) > index;
  return (index) => {
    const operation = operations[index] as FileOperation;
    if (!isNaming(operation)) return covers(fileAt[index] as string, index);
    if (!("path" in operation)) return false;
    const isCovered = covers(dirname(operation.path), index);
    return operation.kind === "rename" ? isCovered && covers(dirname(operation.from), index) : isCovered;
  };
}

function apply(
  operations: readonly FileOperation[],
  root: string,
  keep: (operation: FileOperation, index: number) => FileOperation | undefined,
): Tree {
  const tree = new Map<string, StoredFile | undefined>([[root, undefined]]);
  const files = new Map<bigint, StoredFile>();
  const hasParent = (path: string) => {
    const parent = dirname(path);
    return tree.has(parent) && tree.get(parent) === undefined;
  };
  for (const [index, original] of operations.entries()) {
    // The inode is another file from here on, whether its name was kept or not.
    if (original.kind === "create") files.set(original.inode, { bytes: new Uint8Array(0), length: 0 });
    const operation = keep(original, index);
    if (operation === undefined) continue;
    const file = "inode" in operation ? files.get(operation.inode) : undefined;
    if (operation.kind === "write" && file !== undefined) put(file, operation.offset, operation.data);
    if (operation.kind === "truncate" && file !== undefined) resize(file, operation.length);
    if (operation.kind === "unlink") tree.delete(operation.path);
    if (operation.kind === "mkdir" && hasParent(operation.path)) tree.set(operation.path, undefined);
    if (operation.kind === "create" && hasParent(operation.path)) tree.set(operation.path, file);
    if (operation.kind !== "rename" && operation.kind !== "link") continue;
    const moved = tree.get(operation.from);
    if (!tree.has(operation.from) || !hasParent(operation.path)) continue;
    tree.set(operation.path, moved);
    if (operation.kind === "rename") tree.delete(operation.from);
  }
  return tree;
}

function put(file: StoredFile, offset: number, data: Uint8Array): void {
  const end = offset + data.length;
  grow(file, end);
  file.bytes.set(data, offset);
  file.length = Math.max(file.length, end);
}

function resize(file: StoredFile, length: number): void {
  grow(file, length);
  file.bytes.fill(0, Math.min(length, file.length));
  file.length = length;
}

function grow(file: StoredFile, length: number): void {
  if (length <= file.bytes.length) return;
  const bytes = new Uint8Array(Math.max(length, 2 * file.bytes.length));
  bytes.set(file.bytes.subarray(0, file.length));
  file.bytes = bytes;
}
