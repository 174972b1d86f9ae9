// Companion files out of an archive: which version belongs to a point, and its bytes, from the first reader that has them whole.

import { type Archive, type ArchiveReader, type ReadOptions, readObject } from "./archive-reader.ts";
import {
  type CompanionsEntry,
  type CompanionsWanted,
  companionsAt,
  indexCompanions,
} from "./companion-choice.ts";
import { type CompanionsVersion, decodeCompanions } from "./companions.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { companionsObjectBytesMax } from "./limits.ts";

/** The version of a point in an archive; `undefined`: there was none by then. */
export function companionsIn(
  archive: Pick<Archive, "objects" | "links">,
  wanted: CompanionsWanted,
): CompanionsEntry | undefined {
  return companionsAt(indexCompanions(archive.objects), archive.links, wanted);
}

/** Every version in an archive, newest first: by when they were read. */
export function companionVersions({ objects }: Pick<Archive, "objects">): CompanionsEntry[] {
  const all = [...indexCompanions(objects).values()].flat();
  return all.sort((a, b) => b.stampMs - a.stampMs || (a.name < b.name ? 1 : -1));
}

/** Reads a version, checked whole. A reader whose copy is missing or broken is passed over. Errors: what the last of them threw. */
export async function readCompanions(
  readers: readonly ArchiveReader[],
  { name }: Pick<CompanionsEntry, "name">,
  options: ReadOptions = {},
): Promise<CompanionsVersion> {
  const { signal } = options;
  let failure: unknown = new PageferryError("not-found", `object ${name}: there is nowhere to read it`);
  for (const reader of readers) {
    try {
      const bytes = await readObject(reader, name, { signal, bytesMax: companionsObjectBytesMax });
      return await decodeCompanions(name, bytes);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPageferryError(error)) throw error;
      failure = error;
    }
  }
  throw failure;
}
