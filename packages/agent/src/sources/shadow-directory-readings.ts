// What was found in the snapshots of a shadow directory. Each is read once, unless its file changes: one that is being written is
// not whole yet. Reading is done beside everything else, one at a time.

import { existsSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { isPageferryError, type StateHash } from "@pageferry/format";
import type { ImageMaker, MadeImage } from "./shadow-directory-image.ts";
import type { ListedSnapshot } from "./shadow-directory-listing.ts";

/** What is known of a snapshot. `unfinished`: it is not whole, or not sound, as it is. */
export type Reading = StateHash | "unread" | "unfinished";

/** Reads snapshots, and remembers. */
export interface SnapshotReadings {
  of(snapshot: ListedSnapshot): Reading;
  /** Reads one into a file; `undefined`: it is not whole. Throws what says nothing about the snapshot, such as a full disk. */
  read(snapshot: ListedSnapshot, path: string): Promise<MadeImage | undefined>;
  /** As `read`, keeping only what was found. */
  look(snapshot: ListedSnapshot, path: string): Promise<void>;
}

interface Known {
  readonly looks: string;
  readonly reading: StateHash | "unfinished";
}

/** With so many some are of snapshots that were removed meanwhile. */
const goneMin = 1000;

/** Makes the readings of one shadow directory. */
export function createSnapshotReadings(maker: ImageMaker): SnapshotReadings {
  const known = new Map<string, Known>();

  function remember(path: string, one: Known): void {
    known.set(path, one);
    if (known.size < goneMin) return;
    for (const other of known.keys()) if (!existsSync(other)) known.delete(other);
  }

  async function read(snapshot: ListedSnapshot, path: string): Promise<MadeImage | undefined> {
    const looks = looksOf(snapshot);
    try {
      const image = await maker.fromSnapshot(snapshot, path);
      remember(snapshot.path, { looks, reading: image.stateHash });
      return image;
    } catch (error) {
      const isItsFault = isPageferryError(error) && error.remedy !== "retry";
      if (!isItsFault) throw error;
      remember(snapshot.path, { looks, reading: "unfinished" });
      return undefined;
    }
  }

  return {
    of(snapshot) {
      const found = known.get(snapshot.path);
      return found === undefined || found.looks !== looksOf(snapshot) ? "unread" : found.reading;
    },
    read,
    async look(snapshot, path) {
      const image = await read(snapshot, path);
      if (image !== undefined) await rm(image.path, { force: true });
    },
  };
}

function looksOf({ path }: ListedSnapshot): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? "gone" : `${stats.ino} ${stats.size} ${stats.mtimeNs}`;
}
