// Work that is begun ahead but taken in order, within a bound of count and of weight.

/** How far ahead to begin. */
export interface InOrderBounds<Item> {
  /** Items that are under way at a time, those that wait to be taken included. */
  readonly countMax: number;
  /** The sum of their weights; an item that is heavier goes alone. */
  readonly weightMax: number;
  weight(item: Item): number;
}

/**
 * Begins every item in order, several at a time, and takes the results in the same order. What `take` returns counts as under way until
 * it settles. On the first failure nothing more is begun, the signal given to `begin` is aborted, everything under way is waited for,
 * and the failure is thrown.
 */
export async function inOrder<Item, Result>(
  items: readonly Item[],
  bounds: InOrderBounds<Item>,
  begin: (item: Item, signal: AbortSignal) => Promise<Result>,
  take: (result: Result, item: Item) => Promise<{ readonly done: Promise<void> }>,
  signal?: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const inner = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const begun: Promise<Result>[] = [];
  const finishing = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const throwFailure = (): void => {
    if (failures.length > 0) throw failures[0];
  };
  let weight = 0;
  let underWay = 0;
  let next = 0;
  const beginMore = (): void => {
    for (let item = items[next]; item !== undefined; item = items[next]) {
      const added = bounds.weight(item);
      if (underWay > 0 && (underWay >= bounds.countMax || weight + added > bounds.weightMax)) return;
      weight += added;
      underWay += 1;
      next += 1;
      const result = begin(item, inner);
      // It is awaited in its turn; until then a failure must not count as unhandled.
      result.catch(() => undefined);
      begun.push(result);
    }
  };
  try {
    for (const item of items) {
      throwFailure();
      beginMore();
      while (begun.length === 0) {
        await Promise.race(finishing);
        throwFailure();
        beginMore();
      }
      const result = await (begun.shift() as Promise<Result>);
      const { done } = await take(result, item);
      const finished = done.then(
        () => {
          weight -= bounds.weight(item);
          underWay -= 1;
          finishing.delete(finished);
        },
        // Its place stays taken, so that nothing overlooks it.
        (error: unknown) => {
          failures.push(error);
          stop.abort(error);
        },
      );
      finishing.add(finished);
    }
    await Promise.all(finishing);
    throwFailure();
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled([...begun, ...finishing]);
    signal?.throwIfAborted();
    throw error;
  }
}
