// Where the demo's recording lies in the sources and in the package alike. In a program of one file it is inside (build/bundle.mjs).
import { readFile } from "node:fs/promises";

const place = new URL("../demo/history.zst", import.meta.url);

/** For messages. */
export const historyPath = place.pathname;

/** The recording as it is kept, compressed. */
export function readHistoryFile(): Promise<Uint8Array> {
  return readFile(place);
}
