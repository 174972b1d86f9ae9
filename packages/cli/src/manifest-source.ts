// A manifest that somebody saved, as a source of one point: its objects come from the places in it, which need no host as long as they are good.

import { readFile } from "node:fs/promises";
import { type ArchiveReader, PageferryError, planOf } from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";
import type { BackupSource } from "./backup-source.ts";
import { createHostClient } from "./host-client.ts";
import type { Io } from "./io.ts";
import type { ReadManifest } from "./manifest-reader.ts";

/** Opens a manifest in a file. Errors: `not-found`, `untrusted`, `corrupt`, `bad-request` where its places are a host's. */
export async function openManifestSource(path: string, read: ReadManifest, io: Io): Promise<BackupSource> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      throw new PageferryError("not-found", `${path}: there is no such file`, {
        cause: error,
        hint: "A name that ends in .json is that of a manifest that was saved. Replicas are directories or URLs.",
      });
    throw fromFileSystem(error, `reading ${path}`);
  });
  const { objects, companions } = read(bytes, { target: {} });
  const all = companions === undefined ? objects : [...objects, companions];
  const places = new Map(all.map(({ name, url = "" }) => [name, url]));
  const relative = [...places].find(([, url]) => !/^https?:\/\//i.test(url));
  if (relative !== undefined) {
    throw new PageferryError("bad-request", `${path}: ${relative[0]} is to be fetched from a host`, {
      hint: "Restore from the host itself (http://HOST/v1/databases/NAME), or save a manifest with `?urls=presigned`.",
    });
  }
  // No token goes anywhere: its places need none.
  const client = createHostClient("", undefined);
  const reader: ArchiveReader = {
    name: path,
    async *list() {
      yield* [];
    },
    async get(name, { offset, length, signal } = {}) {
      const url = places.get(name);
      if (url === undefined) throw new PageferryError("not-found", `${path}: ${name} is not in it`);
      return client.getStream(url, { offset, length }, signal ?? io.signal);
    },
  };
  const onlyOne = () =>
    Promise.reject(
      new PageferryError("bad-request", `${path}: a manifest holds one point, and no list of them`),
    );
  return {
    name: path,
    readers: [reader],
    points: onlyOne,
    companions: async () => companions,
    companionVersions: onlyOne,
    timeline: onlyOne,
    async plan(target, _signal, without = new Set()) {
      const [gone] = without;
      if (gone !== undefined) throw new PageferryError("gap", `${path}: there is no other way than ${gone}`);
      return planOf(read(bytes, { target }));
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
