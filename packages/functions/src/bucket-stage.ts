// Staged bodies in a bucket, `stage/<database>/<digest>`, where agents put them. Nobody looked at them on their way in: whoever
// reads one to its end verifies its digest.

import { type DatabaseName, isPageferryError, PageferryError } from "@pageferry/format";
import type { LargeBody } from "./replica-put.ts";
import { rootedStore } from "./rooted-store.ts";
import type { StageDoor } from "./stage.ts";
import type { Store } from "./store.ts";

/** The staged bodies below a store's `stage/`. A body that is gone is `not-found`: in a bucket it does not come later. */
export function bucketStage(store: Store): Pick<StageDoor, "touch" | "body"> {
  const staged = rootedStore(store, "stage");
  const sizeOf = async (digest: string, database: DatabaseName): Promise<number> => {
    const wanted = nameOf(digest, database);
    const found = await readable(async () => {
      for await (const { name, size } of staged.list(wanted)) if (name === wanted) return size;
      return undefined;
    });
    if (found !== undefined) return found;
    throw new PageferryError("not-found", `staged body ${digest} of ${database} is not here`, {
      hint: "It has expired, or was never staged: the agent sends it again once it is missed.",
    });
  };
  return {
    touch: sizeOf,
    async body(digest, database): Promise<LargeBody> {
      const name = nameOf(digest, database);
      return {
        size: await sizeOf(digest, database),
        sha256: digest,
        async *open() {
          yield* await readable(() => staged.get(name));
        },
        read: (offset, length) => readable(() => staged.read(name, length, { offset, length })),
      };
    },
  };
}

/** That this process may not read the bucket is no fault of what lies in it: somebody mends that, and it is read later. */
async function readable<Result>(read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    if (!isPageferryError(error, "unauthorized") && !isPageferryError(error, "bad-config")) throw error;
    throw new PageferryError("unavailable", `staged bodies cannot be read: ${error.message}`, {
      cause: error,
      hint: error.hint,
    });
  }
}

/** Digests come from outside and become names. */
function nameOf(digest: string, database: DatabaseName): string {
  if (/^[0-9a-f]{64}$/.test(digest)) return `${database}/${digest}`;
  throw new PageferryError(
    "bad-request",
    `digest ${JSON.stringify(digest.slice(0, 80))} is not 64 lower-case hex digits`,
  );
}
