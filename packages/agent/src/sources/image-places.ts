// How many images of databases lie on the disk at a time: they are made faster than snapshots of them are sent, and each is as large as its database.
import { existsSync } from "node:fs";
import type { ImageFile } from "./base-image.ts";
import { createImageFile, type Scratch } from "./database-file.ts";

/** Room for images, shared by all sources of a thread. */
export interface ImagePlaces {
  /** Whether another one may be begun. */
  hasRoom(): boolean;
  /** One was begun. Whoever is done with it removes it, which makes room. */
  began(path: string): void;
}

/** With fewer databases nothing ever waits. */
const imagesMax = 16;

/** One that takes longer, as of a file that is never quiet, or that nobody removes, must not hold up the others. */
const heldMs = 10 * 60_000;

/** Makes it. */
export function createImagePlaces(clockMs: () => number, max = imagesMax): ImagePlaces {
  const begun = new Map<string, number>();
  return {
    hasRoom() {
      if (begun.size < max) return true;
      for (const [path, atMs] of begun)
        if (clockMs() - atMs > heldMs || !existsSync(path)) begun.delete(path);
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
