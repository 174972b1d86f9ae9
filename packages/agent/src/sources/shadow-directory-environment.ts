// The world of a tailer whose file is the mirror of a shadow directory: we are its only writer, and its histories are its identity.
import { rmSync } from "node:fs";
import { PageferryError } from "@pageferry/format";
import { openScratch } from "./database-file.ts";
import type { HostShare } from "./hosted-source.ts";
import { createPlacedImage } from "./image-places.ts";
import { createShadowFeed, historyOf, mirrorFile, type ShadowFeed } from "./shadow-directory-feed.ts";
import type { TailerEnvironment, TailerEvent } from "./tailer-state.ts";
import type { OpenOrder, ShadowPlace } from "./worker-messages.ts";

/** Makes the feed of a source. */
export function feedOf(order: OpenOrder, place: ShadowPlace, share: HostShare, wake: () => void): ShadowFeed {
  const { machine, checkImage, clockMs } = share;
  return createShadowFeed({ ...place, reference: order.reference, machine, checkImage, clockMs, wake });
}

/** What a mirror's tailer sees. */
export function mirrorEnvironment(
  order: OpenOrder,
  share: HostShare,
  feed: ShadowFeed,
  emit: (event: TailerEvent) => void,
): TailerEnvironment {
  const { directory } = feed.options;
  const scratch = openScratch(order.scratchDir, order.path);
  return {
    // What is told now was committed then.
    now: () => feed.stampMs || Date.now(),
    clockMs: share.clockMs,
    openFile() {
      const file = mirrorFile(feed);
      if (file !== undefined) return file;
      const message = `${directory}: no snapshot to begin with is there yet`;
      const hint =
        "The application writes one with its first commit. See whether it has a `stream` and this is its directory.";
      throw new PageferryError("not-found", message, { hint });
    },
    pathState: () => "same",
    hasWriter: () => true,
    isWrittenElsewhere: () => false,
    hasImageRoom: share.images.hasRoom,
    createImage: () => createPlacedImage(scratch, share.images),
    cloneFile: () => undefined,
    removeImage: (image) => rmSync(image, { force: true }),
    checkImage: (image, stateHash, done) => share.checkImage({ path: image, stateHash }, done),
    emit(event) {
      const origin = event.type === "begin" ? historyOf(feed)?.origin : undefined;
      emit(event.type === "begin" && origin !== undefined ? { ...event, origin } : event);
    },
  };
}
