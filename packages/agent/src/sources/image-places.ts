// How many images of databases lie on the disk at a time: they are made faster than snapshots of them are sent, and each is as large as its database.
import { existsSync } from "node:fs";
import { basePlaceMs, basesAtATime } from "../settings.ts";
import type { ImageFile } from "./base-image.ts";
import { createImageFile, type Scratch } from "./database-file.ts";

/** Room for images, shared by all sources of a thread. */
export interface ImagePlaces {
  /** Whether another one may be begun. */
  hasRoom(): boolean;
  /** One was begun. Whoever is done with it removes it, which makes room; one of a file that is never quiet counts for a while only. */
  began(path: string): void;
}

/** Makes it. */
export function createImagePlaces(clockMs: () => number, max = basesAtATime): ImagePlaces {
  const begun = new Map<string, number>();
  return {
    hasRoom() {
      if (begun.size < max) return true;
      for (const [path, atMs] of begun)
        if (clockMs() - atMs > basePlaceMs || !existsSync(path)) begun.delete(path);
      return begun.size < max;
    },
    began(path) {
      begun.set(path, clockMs());
    },
  };
}

/** Makes an empty image file, which takes a place until it is removed. */
export function createPlacedImage(scratch: Scratch, places: ImagePlaces): ImageFile {
  const image = createImageFile(scratch);
  places.began(image.path);
  return image;
}
