// The names of a file's top buckets, which tell what application wrote it.

import { isPageferryError, listBucket, newestMeta } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";

/** Applications that are told by their buckets have a handful; more would be keys of somebody's own. */
const bucketsMax = 1000;

/** Reads them; none where the file is no sound database. */
export async function topBuckets(path: string): Promise<readonly string[]> {
  try {
    using source = openPageSource(path);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1));
    if (meta === undefined) return [];
    const { pageSize } = source;
    const pages = {
      ...{ pageSize, root: meta.root, highWaterMark: meta.highWaterMark },
      page: async (id: number) => ({ bytes: source.read(id, 1), object: path }),
    };
    const listing = await listBucket(pages, [], { limit: bucketsMax });
    const entries = listing?.entries ?? [];
    return entries.filter(({ kind }) => kind === "bucket").map(({ key }) => Buffer.from(key).toString());
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    return [];
  }
}
