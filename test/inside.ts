// A replica whose newest point holds buckets, keys and values of any bytes, for the tests that look inside.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { formatGenerationJson, nameOfBytes } from "@pageferry/format";
import { type BucketTree, boltImage } from "../packages/format/testing/bolt-image.ts";
import { generation, layersOf } from "../packages/format/testing/layers.ts";

/** Names that somebody may think up, as strings of bytes. */
export const hostile: readonly string[] = [
  "\0",
  "a/b",
  "a\nb",
  "..",
  "../../etc/passwd",
  "<script>alert(1)</script>",
  "\x1b[2J\x07",
  "\xff\xfe",
  "\xc0\xaf",
  "hex:61",
  "%2e%2e%2f",
  "a&limit=1#x?y=z",
  " ",
  "größe",
].map((name) => (name === "größe" ? Buffer.from(name, "utf8").toString("latin1") : name));

export const bytesOf = (name: string): Uint8Array => Buffer.from(name, "latin1");

export const typed = (name: string): string => nameOfBytes(bytesOf(name));

/** Each name is a bucket, with each name as a key in it. */
export const hostileTree: BucketTree = new Map(
  hostile.map((name) => [name, new Map(hostile.map((key) => [key, bytesOf(`${name}|${key}`)]))]),
);

/** Writes the replica of a database as it lies in a directory. */
export async function writeReplica(root: string, tree: BucketTree): Promise<void> {
  const objects = await layersOf(boltImage(tree), { steps: 3 });
  const json = {
    version: 1,
    generation,
    parent: null,
    reason: "first",
    epoch: 1,
    host: "h",
    pageSize: 4096,
  } as const;
  const begin = formatGenerationJson({ ...json, receivedAtMs: 0 });
  for (const { name, bytes } of [...objects, { name: `${generation}/generation.json`, bytes: begin }]) {
    await mkdir(dirname(`${root}/${name}`), { recursive: true });
    await writeFile(`${root}/${name}`, bytes);
  }
}
