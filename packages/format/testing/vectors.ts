// The vectors of the Go implementation, and the three ways in which a stream may bring them.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chunked, seeded } from "../src/fixtures.ts";

const folder = fileURLToPath(new URL("../vectors/", import.meta.url));

/** A time as Go's JSON has it; null is the zero time. */
export type GoTime = { readonly unixSeconds: string; readonly nanos: number } | null;

/** A header as Go decoded it; u64 are decimal texts. */
export interface GoHeader {
  readonly txId: string;
  readonly parentTxId: string;
  readonly version: number;
  readonly pageSize: number;
  readonly pageCount: number | string;
  readonly highWaterMark: string;
  readonly createdAt: GoTime;
  readonly compression: string;
  readonly compressionLevel: number;
  readonly compressionWindow: number;
  readonly checksum: string;
  readonly additionalAttrs: Readonly<Record<string, string>> | null;
}

/** What the `.json` beside a vector says of it. */
export interface Truth {
  readonly kind: "segment" | "snapshot" | "segmentHeader" | "snapshotHeader";
  readonly decodeError?: string | null;
  readonly header: GoHeader;
  readonly dataLength: number;
  readonly dataSha256: string;
  readonly innerPayloadSha256: string;
  readonly pages: readonly {
    readonly id: string;
    readonly overflow: number;
    readonly dataLength: number;
    readonly dataSha256: string;
  }[];
  readonly rawLength: number;
  readonly rawSha256: string;
  readonly fileName: string;
  readonly parsedName: { readonly time: string; readonly txId: string };
}

/** A vector: its name, its bytes, and what Go decoded from them. */
export interface Vector {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly truth: Truth;
}

/** Reads one of the `.json` files that stand by themselves. */
export function vectorJson(name: string): unknown {
  const exact = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === "number" && !Number.isSafeInteger(value) ? (context?.source ?? value) : value;
  return JSON.parse(readFileSync(folder + name, "utf8"), exact);
}

/** A file below `vectors/`. */
export function vectorFile(name: string): Uint8Array {
  return new Uint8Array(readFileSync(folder + name));
}

/** All vectors of a kind. */
export function vectors(kind: Truth["kind"]): Vector[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".cbor"))
    .map((name) => ({
      name: name.replace(".cbor", ""),
      bytes: vectorFile(name),
      truth: vectorJson(name.replace(".cbor", ".json")) as Truth,
    }))
    .filter(({ truth }) => truth.kind === kind);
}

/** The ways to read a file: whole, in random chunks, byte by byte. */
export function deliveries(
  bytes: Uint8Array,
): readonly (readonly [how: string, chunks: AsyncIterable<Uint8Array>])[] {
  const random = seeded(bytes.length);
  return [
    ["whole", chunked(bytes, () => bytes.length)],
    ["in random chunks", chunked(bytes, () => random() % 700)],
    ["byte by byte", chunked(bytes, () => 1)],
  ];
}
