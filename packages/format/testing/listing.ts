// Everything that a point holds, listed part by part, in the words of the logical hash: what another walk says of the same database must be
// the same.

import { createHash } from "node:crypto";
import { type BucketPath, getValue, listBucket } from "../src/bucket-walk.ts";
import type { PointPages } from "../src/point-pages.ts";

/** The logical hash of a point, from listings of `limit` entries and one `get` for each key. */
export async function listedHash(
  pages: Pick<PointPages, "page" | "pageSize" | "highWaterMark" | "root">,
  limit: number,
): Promise<string> {
  const hash = createHash("sha256");
  await listInto(pages, [], limit, (line) => void hash.update(line));
  return hash.digest("hex");
}

async function listInto(
  pages: Parameters<typeof listedHash>[0],
  path: BucketPath,
  limit: number,
  say: (line: string) => void,
): Promise<void> {
  const words = path.map(hex).join("/");
  let after: Uint8Array | undefined;
  do {
    const listing = await listBucket(pages, path, { limit, after });
    if (listing === undefined) throw new Error(`bucket ${words} is gone`);
    for (const entry of listing.entries) {
      if (entry.kind === "bucket") {
        say(`B ${[...path, entry.key].map(hex).join("/")} seq=${entry.sequence}\n`);
        await listInto(pages, [...path, entry.key], limit, say);
        continue;
      }
      const value = await getValue(pages, path, entry.key);
      if (value === undefined || value === "bucket") throw new Error(`key ${hex(entry.key)} is gone`);
      const bytes = Buffer.concat(await Array.fromAsync(value.read(0, value.bytes)));
      if (bytes.length !== entry.valueBytes) throw new Error(`key ${hex(entry.key)}: ${bytes.length} bytes`);
      say(`K ${words}/${hex(entry.key)} ${hex(bytes)}\n`);
    }
    after = listing.next;
  } while (after !== undefined);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
