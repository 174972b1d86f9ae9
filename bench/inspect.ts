// Looking inside the archive of the restore bench, before and after it was compacted: one key, and a hundred, each from a listing on, with
// nothing known before.
import { cp } from "node:fs/promises";
import {
  type BucketPath,
  getValue,
  listBucket,
  openArchive,
  openPointPages,
  type PointPages,
  planFromArchive,
} from "@pageferry/format";
import { directoryReader } from "@pageferry/format/node";
import { temporaryDirectory } from "../test/temporary.ts";
import { medians } from "./machine.ts";
import { prepareArchive } from "./restore.ts";
import { compacted } from "./time.ts";

const mb = 2 ** 20;

async function openNewest(root: string): Promise<PointPages> {
  const archive = await openArchive([directoryReader(root)]);
  return openPointPages(await planFromArchive(archive, {}), archive.readers);
}

/** A bucket of more than a thousand keys, and the one in the middle of its first thousand. */
async function placeIn(root: string): Promise<{ readonly path: BucketPath; readonly key: Uint8Array }> {
  const pages = await openNewest(root);
  for (const { kind, key: bucket } of (await listBucket(pages, [], { limit: 100 }))?.entries ?? []) {
    const listing = kind === "bucket" ? await listBucket(pages, [bucket], { limit: 1000 }) : undefined;
    const key = listing?.entries[500]?.key;
    if (listing?.next !== undefined && key !== undefined) return { path: [bucket], key };
  }
  throw new Error("the archive holds no bucket of a thousand keys");
}

async function looks(root: string): Promise<Record<string, Record<string, number>>> {
  const { path, key } = await placeIn(root);
  const timed = (look: (pages: PointPages) => Promise<unknown>) =>
    medians(5, async () => {
      const begun = performance.now();
      const pages = await openNewest(root);
      await look(pages);
      const { reads, bytes } = pages.fetched();
      return { ms: performance.now() - begun, "MB fetched": bytes / mb, reads };
    });
  return {
    get: await timed(async (pages) => {
      const value = await getValue(pages, path, key);
      if (value === undefined || value === "bucket") throw new Error("the key is gone");
      await Array.fromAsync(value.read(0, value.bytes));
    }),
    "ls of 100": await timed((pages) => listBucket(pages, path, { limit: 100, after: key })),
  };
}

/** Time and bytes. */
export async function benchInspect(): Promise<Record<string, Record<string, number>>> {
  const cache = await prepareArchive();
  await using directory = await temporaryDirectory();
  const root = directory.file("replica");
  await cp(`${cache}/replica`, `${root}/app`, { recursive: true });
  const before = await looks(`${root}/app`);
  await compacted(root, directory.file("app.db"), {});
  const after = await looks(`${root}/app`);
  const named = (word: string, found: typeof before) =>
    Object.entries(found).map(([name, row]) => [`${name}, ${word}`, row] as const);
  return Object.fromEntries([...named("compacted", after), ...named("as it came", before)]);
}
