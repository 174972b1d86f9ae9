// One at a time for each key: what is decided by what is there must not be overtaken by what changes it.

/** Carries work out one after the other for each key, in the order in which it was given; what fails stops nothing behind it. */
export type Exclusive = <Result>(key: string, work: () => Promise<Result>) => Promise<Result>;

export function createExclusive(): Exclusive {
  const last = new Map<string, Promise<unknown>>();
  return (key, work) => {
    const before = last.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    last.set(key, mine);
    const done = () => {
      if (last.get(key) === mine) last.delete(key);
    };
    mine.then(done, done);
    return mine;
  };
}
