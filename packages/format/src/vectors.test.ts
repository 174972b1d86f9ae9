import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import {
  deliveries,
  type GoHeader,
  type GoTime,
  type Vector,
  vectorFile,
  vectorJson,
  vectors,
} from "../testing/vectors.ts";
import { compressionSettings } from "./config-compression.ts";
import { crc64 } from "./crc64.ts";
import { formatRestoreState, parseRestoreState } from "./descriptors.ts";
import { collect, memoryReader } from "./fixtures.ts";
import { parseObjectName } from "./names.ts";
import { decodeSegment, decodeSegmentStream, encodeSegment, type Segment } from "./segment.ts";
import { decodeSegmentFile, encodeSegmentFile } from "./segment-file.ts";
import { decodeSegmentHeader, encodeSegmentHeader } from "./segment-header.ts";
import { encodeSegmentPayload } from "./segment-payload.ts";
import {
  decodeSnapshot,
  decodeSnapshotFile,
  decodeSnapshotHeader,
  encodeSnapshotFile,
  encodeSnapshotHeader,
  openSnapshot,
  readSnapshotHeader,
} from "./snapshot.ts";
import { nodeZstdLevel, zstdDecompressSync } from "./zstd.ts";
import { fallbackDecompress } from "./zstd-fallback.ts";

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function seconds(time: GoTime): number | null {
  return time === null ? null : Number(time.unixSeconds) + time.nanos / 1e9;
}

function assertHeader(header: object, go: GoHeader): void {
  const found = header as Readonly<Record<string, unknown>>;
  assert.deepEqual(
    {
      ...found,
      txId: String(found.txId),
      pageCount: String(found.pageCount),
      ...("parentTxId" in found && {
        parentTxId: String(found.parentTxId),
        highWaterMark: String(found.highWaterMark),
        checksum: String(found.checksum),
        attrs: found.attrs,
      }),
    },
    {
      version: go.version,
      txId: go.txId,
      pageSize: go.pageSize,
      pageCount: String(go.pageCount),
      createdAt: seconds(go.createdAt),
      compression: go.compression,
      compressionLevel: go.compressionLevel,
      compressionWindow: go.compressionWindow,
      ...(go.parentTxId !== undefined && {
        parentTxId: go.parentTxId,
        highWaterMark: go.highWaterMark,
        checksum: go.checksum,
        attrs: go.additionalAttrs ?? {},
      }),
    },
  );
}

function assertSegment(segment: Segment, { truth }: Vector): void {
  assertHeader(segment.header, truth.header);
  const pages = segment.pages.map(({ id, overflow, data }) => ({
    id: String(id),
    overflow,
    dataLength: data.length,
    dataSha256: sha256(data),
  }));
  assert.deepEqual(pages, truth.pages);
}

suite("segments written by Go", () => {
  for (const vector of vectors("segment")) {
    const { name, bytes, truth } = vector;

    test(`${name} decodes to what Go decoded, whole, in random chunks and byte by byte`, async () => {
      assertSegment(decodeSegment(bytes), vector);
      for (const [, chunks] of deliveries(bytes)) {
        assertSegment(await decodeSegmentStream(chunks), vector);
      }
    });

    test(`${name} re-encodes to the same bytes, outside and inside`, () => {
      const file = decodeSegmentFile(bytes);
      const segment = decodeSegment(bytes);

      const payload = encodeSegmentPayload(segment.header, segment.pages).bytes;

      assert.equal(sha256(file.data), truth.dataSha256);
      assert.deepEqual(Buffer.from(encodeSegmentFile(file)), Buffer.from(bytes));
      assert.equal(sha256(payload), truth.innerPayloadSha256);
    });

    test(`${name} has the name it was stored under`, () => {
      const name = parseObjectName(`0123456789abcdef/segments/${truth.fileName}`);

      assert.equal(name?.kind === "segment" && name.lastTxId, BigInt(truth.header.txId));
    });
  }
});

suite("segments written by Go without compression", () => {
  for (const { name, bytes } of vectors("segment").filter(
    ({ truth }) => truth.header.compression === "none",
  )) {
    test(`${name} is encoded by us to the very same bytes`, () => {
      const { header, pages } = decodeSegment(bytes);

      const ours = encodeSegment(
        { ...header, pages },
        { compression: { codec: "none", level: 0, window: 0 } },
      );

      assert.deepEqual(Buffer.from(ours), Buffer.from(bytes));
    });
  }
});

suite("snapshots written by Go", () => {
  for (const { name, bytes, truth } of vectors("snapshot")) {
    test(`${name} decodes to what Go decoded, whole, in random chunks and byte by byte`, async () => {
      for (const [, chunks] of deliveries(bytes)) {
        const decoded = decodeSnapshot(chunks, { checkLength: false });
        const raw = await collect(decoded.raw);

        assertHeader(await decoded.header, truth.header);
        assert.equal(raw.length, truth.rawLength);
        assert.equal(sha256(raw), truth.rawSha256);
      }
    });

    test(`${name} re-encodes to the same bytes`, () => {
      const file = decodeSnapshotFile(bytes);

      assert.equal(sha256(file.data), truth.dataSha256);
      assert.deepEqual(Buffer.from(encodeSnapshotFile(file)), Buffer.from(bytes));
    });

    test(`${name} gives its header by two small reads at its ends`, async () => {
      const reader = memoryReader(bytes);

      const header = await readSnapshotHeader(reader);

      assertHeader(header, truth.header);
      assert.ok(reader.reads.every(([, length]) => length < 200));
    });

    test(`${name} has the name it was stored under`, () => {
      const name = parseObjectName(`0123456789abcdef/snapshots/${truth.fileName}`);

      assert.ok(name?.kind === "snapshot");
      assert.equal(String(name.txId), truth.parsedName.txId);
      assert.equal(name.createdAtMs, Date.parse(truth.parsedName.time));
    });

    test(`${name} decodes alike by the fallback where a runtime has no zstd`, () => {
      const { data, header } = decodeSnapshotFile(bytes);
      if (header.compression === "zstd") {
        assert.equal(sha256(fallbackDecompress(data, truth.rawLength)), truth.rawSha256);
      }
    });
  }

  test("that have a wrong page count decode only where that is not asked", async () => {
    const { raw, header } = decodeSnapshot([vectorFile("snap-none-maxu64.cbor")]);

    await assert.rejects(collect(raw), { code: "corrupt" });
    await assert.rejects(header, { code: "corrupt" });
  });
});

suite("headers written by Go", () => {
  for (const { name, bytes, truth } of vectors("segmentHeader")) {
    test(`${name} is taken or refused as by Go, and re-encodes to the same bytes`, () => {
      if (truth.decodeError) {
        assert.throws(() => decodeSegmentHeader(bytes), { code: "corrupt" });
        return;
      }
      const header = decodeSegmentHeader(bytes);

      assertHeader(header, truth.header);
      assert.deepEqual(Buffer.from(encodeSegmentHeader(header)), Buffer.from(bytes));
    });
  }

  for (const { name, bytes, truth } of vectors("snapshotHeader")) {
    test(`${name} is taken or refused as by Go, and re-encodes to the same bytes`, () => {
      if (truth.decodeError) {
        assert.throws(() => decodeSnapshotHeader(bytes), { code: "unsupported-version" });
        return;
      }
      const header = decodeSnapshotHeader(bytes);

      assertHeader(header, truth.header);
      assert.deepEqual(Buffer.from(encodeSnapshotHeader(header)), Buffer.from(bytes));
    });
  }

  interface DecodeCase {
    readonly hex: string;
    readonly error?: string;
    readonly header?: GoHeader;
  }
  /** Go takes the first of two equal keys; we refuse them. */
  const twice = "a3656d616769636442544c536776657273696f6e016776657273696f6e02";

  for (const { hex, error, header } of vectorJson("decode-segment-header.json") as DecodeCase[]) {
    const says = error === undefined && hex !== twice ? "taken" : `refused (${error ?? "a key comes twice"})`;
    test(`${hex || "nothing"} is ${says}`, () => {
      const bytes = Buffer.from(hex, "hex");

      if (header === undefined || hex === twice) {
        const code = error?.endsWith("version: 2") ? "unsupported-version" : "corrupt";
        assert.throws(() => decodeSegmentHeader(bytes), { code });
      } else {
        assertHeader(decodeSegmentHeader(bytes), header);
      }
    });
  }
});

suite("numbers of the Go implementation", () => {
  for (const { inputHex, crc } of vectorJson("crc64-iso.json") as { inputHex: string; crc: string }[]) {
    test(`the CRC-64 of ${inputHex || "nothing"} is ${crc}`, () => {
      assert.equal(crc64(Buffer.from(inputHex, "hex")), BigInt(crc));
    });
  }

  const levels = vectorJson("zstd-level-table.json") as Record<string, { readonly normalized: number }>;
  for (const [level, { normalized }] of Object.entries(levels)) {
    test(`configured level ${level} is level ${normalized} in headers, and one that Node has`, () => {
      const settings = compressionSettings({ codec: "zstd", level: Number(level), window: 0 });

      assert.equal(settings.level, normalized);
      assert.ok(nodeZstdLevel(settings) <= 19 && nodeZstdLevel(settings) !== 0);
    });
  }
});

suite("an archive with our extensions that Go restored", () => {
  const folder = "replica-extended/data/";
  const state = parseRestoreState(vectorFile(`${folder}_state.json`));
  const snapshotFile = vectorFile(folder + (state.snapshot?.name ?? ""));
  const segmentFile = vectorFile(folder + (state.segments[0]?.name ?? ""));

  test("has a state that reads and writes back to the same bytes", () => {
    assert.deepEqual(Buffer.from(formatRestoreState(state)), Buffer.from(vectorFile(`${folder}_state.json`)));
    assert.equal(state.segments[0]?.lastTxId, 451n);
  });

  test("has a snapshot that streams, and any range of which can be read", async () => {
    const decoded = decodeSnapshot([snapshotFile]);
    const raw = await collect(decoded.raw);
    const ranges = await openSnapshot(memoryReader(snapshotFile));

    const page188 = await ranges.read(188 * 4096, 4096);

    assert.equal((await decoded.header).stateHash, 0x00112233445566778899aabbccddeeffn);
    assert.ok(ranges.isSeekable);
    assert.deepEqual(page188, raw.subarray(188 * 4096));
  });

  test("has a range whose runs, a joined meta page among them, give the recorded body", async () => {
    const truth = vectorJson("replica-extended/truth.json") as { bodySha256: string; highWaterMark: string };
    const raw = Buffer.from(await collect(decodeSnapshot([snapshotFile]).raw));
    const segment = decodeSegment(segmentFile);

    const image = Buffer.alloc(Number(truth.highWaterMark) * 4096);
    raw.copy(image);
    for (const { id, data } of segment.pages) {
      image.set(data, Number(id) * 4096);
    }

    assert.equal(sha256(image.subarray(2 * 4096)), truth.bodySha256);
  });

  test("decompresses alike frame by frame and by the fallback", () => {
    const { data } = decodeSnapshotFile(snapshotFile);

    const native = zstdDecompressSync(data, { outputBytesMax: 189 * 4096 });

    assert.deepEqual(fallbackDecompress(data, 189 * 4096), native);
  });
});
