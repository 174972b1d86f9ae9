// Large bodies into the staging bucket: small enough ones through the API, larger ones by a URL that takes these very bytes and no others.

import { createHash } from "node:crypto";
import { type DatabaseName, isPageferryError, PageferryError } from "@pageferry/format";
import { gather } from "../../body.ts";
import { bucketStage } from "../../bucket-stage.ts";
import type { StagePlace } from "../../ingest-api.ts";
import type { StageDoor } from "../../stage.ts";
import type { S3Store } from "../../stores/s3.ts";

/** A function is called with at most 6 MB, and a body that is no text takes a third more on its way. */
const uploadBytesMax = 4.5 * 1000 * 1000;

/** S3 takes no more at once. */
const placedBytesMax = 5 * 1024 ** 3;

/** A slow line takes long for a large body; what was begun by then goes on. */
const placeSeconds = 60 * 60;

export interface UploadOptions {
  /** The staging bucket. */
  readonly store: S3Store;
  readonly now: () => number;
}

export interface Upload extends StageDoor {
  /** Where the sender itself may put a body that cannot come through here. Errors: `too-large`. */
  place(digest: string, size: number, database: DatabaseName): Promise<StagePlace>;
}

export function createUpload({ store, now }: UploadOptions): Upload {
  const { touch, body } = bucketStage(store);
  return {
    body,
    // Who points at a body that is gone stages it again.
    touch: (digest, database) =>
      touch(digest, database).catch((error: unknown) => {
        if (isPageferryError(error, "not-found")) return undefined;
        throw error;
      }),
    async put(digest, chunks, { size, database, signal }) {
      const name = nameOf(digest, database);
      if (size !== undefined && size > uploadBytesMax) throw tooLarge(digest, size);
      const bytes = await gather(chunks, uploadBytesMax, `staged body ${digest}`);
      const found = createHash("sha256").update(bytes).digest("hex");
      if (found !== digest)
        throw new PageferryError("corrupt", `staged body ${digest}: what came has digest ${found}`);
      return store.put(name, bytes, { signal });
    },
    async place(digest, size, database) {
      if (size > placedBytesMax) {
        const message = `staged body ${digest}: ${size} bytes, S3 takes ${placedBytesMax} at once`;
        throw new PageferryError("too-large", message, {
          hint: "Send by the queue itself, with rights of its own.",
        });
      }
      const expiresAtMs = now() + placeSeconds * 1000;
      const put = { size, sha256: digest, expiresSeconds: placeSeconds };
      return { ...(await store.presignPut(nameOf(digest, database), put)), expiresAtMs };
    },
  };
}

function nameOf(digest: string, database: DatabaseName): string {
  if (/^[0-9a-f]{64}$/.test(digest)) return `stage/${database}/${digest}`;
  throw new PageferryError(
    "bad-request",
    `digest ${JSON.stringify(digest.slice(0, 80))} is not 64 lower-case hex digits`,
  );
}

function tooLarge(digest: string, size: number): PageferryError {
  const message = `staged body ${digest}: ${size} bytes, at most ${uploadBytesMax} are taken here`;
  return new PageferryError("too-large", message, {
    hint: `Ask for a place with GET /v1/stage/${digest}/place?database=…&size=${size}, and put it there.`,
  });
}
