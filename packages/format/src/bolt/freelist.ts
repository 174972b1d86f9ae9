// The freelist page of a bolt file: which pages may be overwritten next. docs/format.md#freelist has the layout.
import { PageferryError } from "../errors.ts";
import { pageIdMax } from "../limits.ts";
import { pageFlagFreelist, pageHeader, pageHeaderBytes, u32 } from "./page.ts";

/** A count of this value means that the first u64 of the list is the real count. */
const countOverflow = 0xffff;

/**
 * The free and pending page ids of a freelist run, strictly ascending. Bolt writes them so and sorts them when it reads; so do we.
 * Throws `corrupt` when the page is not a freelist, the list does not fit into the run, or an id is listed twice or is no page id.
 */
export function parseFreelist(run: Uint8Array): Uint32Array {
  const header = pageHeader(run);
  if (header.flags !== pageFlagFreelist) {
    throw new PageferryError(
      "corrupt",
      `page ${header.id}: flags 0x${header.flags.toString(16)}, expected a freelist`,
    );
  }
  let start = pageHeaderBytes;
  let count = header.count;
  if (count === countOverflow) {
    if (run.length < start + 8)
      throw new PageferryError("corrupt", `page ${header.id}: a freelist without its count`);
    count = u32(run, start) + u32(run, start + 4) * 2 ** 32;
    start += 8;
  }
  if (start + count * 8 > run.length) {
    throw new PageferryError(
      "corrupt",
      `page ${header.id}: ${count} free pages do not fit into ${run.length} bytes`,
    );
  }
  const ids = new Uint32Array(count);
  let isAscending = true;
  let previous = 1;
  for (let index = 0; index < count; index += 1) {
    const at = start + index * 8;
    const id = u32(run, at);
    if (u32(run, at + 4) !== 0 || id > pageIdMax || id < 2) {
      const value = u32(run, at + 4) * 2 ** 32 + id;
      throw new PageferryError(
        "corrupt",
        `page ${header.id}: freelist entry ${index} is page ${value}, which cannot be free`,
      );
    }
    if (id <= previous) isAscending = false;
    ids[index] = id;
    previous = id;
  }
  if (!isAscending) sortUnique(ids, header.id);
  return ids;
}

function sortUnique(ids: Uint32Array, page: number): void {
  ids.sort();
  for (let index = 1; index < ids.length; index += 1) {
    if (ids[index] === ids[index - 1]) {
      throw new PageferryError("corrupt", `page ${page}: the freelist holds page ${ids[index]} twice`);
    }
  }
}
