// What the meta pages of a bolt file say, read as the application left them.

import { type Meta, newestMeta, PageferryError, type TxId } from "@pageferry/format";
import { type FilePageSource, openPageSource } from "@pageferry/format/node";

/** The newest meta page. Errors: `not-bolt` where neither is valid, as between the two writes of a commit both may look. */
export function metaOf(source: FilePageSource): Meta {
  const meta = newestMeta(source.read(0, 1), source.read(1, 1));
  if (meta === undefined) throw new PageferryError("not-bolt", "neither meta page is valid");
  return meta;
}

/** The newest transaction that is in a file now. Errors: `not-found`, `unreadable`, `not-bolt`. */
export function newestIn(path: string): TxId {
  using source = openPageSource(path);
  return metaOf(source).txId;
}
