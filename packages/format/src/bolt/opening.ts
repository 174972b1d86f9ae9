// Whether bolt would get a file open: what it reads before an application may ask for anything. A look at some pages, however large the file is.

import { isPageferryError } from "../errors.ts";
import { parseFreelist } from "./freelist.ts";
import { newestMeta } from "./meta.ts";
import { freelistRun, type PageSource, treePages } from "./tree.ts";

/**
 * What keeps bolt from opening and using a database at all: no valid meta page, a file that ends too early, a freelist or a root page that is
 * none. Undefined: nothing does, as where one meta page of the two is enough; `checkDatabase` may find damage all the same. Throws what is no
 * fault of the database.
 */
export function openingProblem(source: PageSource & { readonly size: number }): string | undefined {
  try {
    const meta = newestMeta(source.read(0, 1), source.read(1, 1));
    if (meta === undefined) return "page 0 and page 1: neither holds a valid meta";
    if (source.size < meta.highWaterMark * source.pageSize)
      return `page ${Math.floor(source.size / source.pageSize)}: beyond the end of the file at ${source.size} bytes`;
    const freelist = freelistRun(source, meta);
    if (freelist !== undefined) parseFreelist(freelist);
    treePages(source, meta).next();
    return undefined;
  } catch (error) {
    if (isPageferryError(error, "corrupt")) return error.message;
    throw error;
  }
}
