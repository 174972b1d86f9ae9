// Work on many things, some at a time.

import pMap from "p-map";

/** Does `work` for each item, `atATime` at once; the results are in the order of the items. The first failure is thrown at once. */
export function inParallel<Item, Result>(
  items: Iterable<Item>,
  atATime: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  return pMap(items, work, { concurrency: atATime });
}
