// What lies in a file replica, read by its names alone, as an operator with `ls` would.
import { readdir, readFile } from "node:fs/promises";

/** A segment or pack of a replica. */
export interface ArchivedRange {
  readonly generation: string;
  readonly firstTxId: number;
  readonly lastTxId: number;
  readonly kind: "segment" | "pack";
  readonly name: string;
}

/** `generation.json`. */
export interface ArchivedGeneration {
  readonly generation: string;
  readonly parent: { readonly generation: string; readonly txId: string | number } | null;
  readonly reason: string;
  readonly epoch: number;
}

const rangeName = /^([0-9a-f]{16})-([0-9a-f]{16})-[0-9a-f]{12}\.(segment|pack)\.cbor$/;
const snapshotName = /-([0-9a-f]{16})\.snapshot\.cbor$/;

async function list(path: string): Promise<string[]> {
  return readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") {
      return [];
    }
    throw error;
  });
}

/** The directories of a replica root that are generations. */
export async function listGenerations(root: string): Promise<string[]> {
  return (await list(root)).filter((name) => /^[0-9a-f]{16}$/.test(name));
}

/** The generations that said how they began. */
export async function readGenerations(root: string): Promise<ArchivedGeneration[]> {
  const texts = (await listGenerations(root)).map((generation) =>
    readFile(`${root}/${generation}/generation.json`, "utf8").catch(() => undefined),
  );
  return (await Promise.all(texts))
    .filter((text) => text !== undefined)
    .map((text) => JSON.parse(text) as ArchivedGeneration);
}

/** The segments and packs of a root, ascending by generation and txid. */
export async function listRanges(root: string): Promise<ArchivedRange[]> {
  const ranges: ArchivedRange[] = [];
  for (const generation of await listGenerations(root)) {
    for (const name of await list(`${root}/${generation}/segments`)) {
      const match = rangeName.exec(name);
      if (match !== null) {
        const kind = match[3] === "pack" ? "pack" : "segment";
        ranges.push({
          generation,
          name,
          kind,
          firstTxId: Number.parseInt(match[1] ?? "", 16),
          lastTxId: Number.parseInt(match[2] ?? "", 16),
        });
      }
    }
  }
  return ranges.sort((a, b) => a.generation.localeCompare(b.generation) || a.firstTxId - b.firstTxId);
}

/** The txids of the snapshots of one generation. */
async function listSnapshots(root: string, generation: string): Promise<number[]> {
  const names = await list(`${root}/${generation}/snapshots`);
  return names
    .flatMap((name) => Number.parseInt(snapshotName.exec(name)?.[1] ?? "", 16))
    .filter(Number.isFinite);
}

/** The highest txid that the names of a root speak of; 0 for none. */
export async function newestStored(root: string): Promise<number> {
  const snapshots = (await listGenerations(root)).map((generation) => listSnapshots(root, generation));
  const txIds = [
    ...(await listRanges(root)).map((range) => range.lastTxId),
    ...(await Promise.all(snapshots)).flat(),
  ];
  return txIds.reduce((a, b) => Math.max(a, b), 0);
}
