// A short history of a real bolt database, out of test/golden, in our own format: with state hashes, so that what is restored can be told
// from what should have been. Each transaction is one segment.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  checkDatabase,
  crc64,
  encodeSegment,
  encodeSnapshotFile,
  formatGenerationJson,
  type Generation,
  generationJsonName,
  openArchive,
  type PageSource,
  parseGeneration,
  planFromArchive,
  readPoints,
  type StateHash,
  segmentAttrs,
  segmentName,
  snapshotName,
  type TxId,
} from "@pageferry/format";
import { directoryReader, restoreFile } from "@pageferry/format/node";

const golden = fileURLToPath(new URL("../../../test/golden/replica-nofreelist/data", import.meta.url));

/** A state of the database. */
export interface BoltState {
  readonly txId: TxId;
  readonly stampMs: number;
  readonly image: Uint8Array;
  readonly pageSize: number;
  readonly highWaterMark: number;
  readonly stateHash: StateHash;
}

/** An object of an archive. */
export interface Held {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const compression = { codec: "none", level: 0, window: 0 } as const;

/** The first states of the golden database's first generation; transaction T is committed at T seconds after `epochMs`. */
export async function boltStates(count: number, epochMs: number): Promise<BoltState[]> {
  const reader = directoryReader(golden);
  const archive = await openArchive([reader]);
  const points = (await readPoints(archive)).toReversed();
  const generation = points[0]?.generation as Generation;
  const directory = await mkdtemp(join(tmpdir(), "bolt-history-"));
  try {
    const states: BoltState[] = [];
    for (const point of points.filter((one) => one.generation === generation).slice(0, count)) {
      const output = join(directory, `${point.txId}.db`);
      const plan = await planFromArchive(archive, { generation, txId: point.txId });
      await restoreFile({ output, plan, readers: [reader], integrity: "full" });
      states.push(stateOf(await readFile(output), point.txId, epochMs));
    }
    return states;
  } finally {
    await rm(directory, { recursive: true });
  }
}

function stateOf(image: Uint8Array, txId: TxId, epochMs: number): BoltState {
  const pageSize = 4096;
  const source: PageSource & { readonly size: number } = {
    pageSize,
    size: image.length,
    read: (id, count) => image.subarray(id * pageSize, (id + count) * pageSize),
  };
  const { stateHash, problems } = checkDatabase(source, { mode: "full" });
  if (stateHash === undefined || problems.length > 0) throw new Error(`state ${txId} is not sound`);
  const stampMs = epochMs + Number(txId) * 1000;
  return { txId, stampMs, image, pageSize, highWaterMark: image.length / pageSize, stateHash };
}

/** How objects of a generation are made. */
export interface BoltArchive {
  readonly generation: Generation;
  readonly begin: Held;
  snapshot(state: BoltState): Held;
  segment(parent: BoltState, state: BoltState): Held;
}

/** A generation that holds such states. */
export function boltArchive(hex: string, epoch = 1): BoltArchive {
  const generation = parseGeneration(hex.padEnd(16, "0"));
  const begin = { generation, parent: null, reason: "first", epoch, host: "host", pageSize: 4096 } as const;
  return {
    generation,
    begin: {
      name: generationJsonName(generation),
      bytes: formatGenerationJson({ version: 1, receivedAtMs: 0, ...begin }),
    },
    snapshot({ txId, stampMs, image, pageSize, highWaterMark, stateHash }) {
      const header = {
        ...{ txId, version: 1, pageSize, createdAt: stampMs / 1000, pageCount: BigInt(highWaterMark) },
        ...{ compression: "none", compressionLevel: 0, compressionWindow: 0 },
        ...{ checksum: crc64(image), stateHash, stampMs },
      };
      return {
        name: snapshotName({ generation, txId, stampMs }),
        bytes: encodeSnapshotFile({ header, data: image }),
      };
    },
    segment(parent, state) {
      const { txId, stampMs, pageSize } = state;
      const meta = Number(txId % 2n);
      const page = (image: Uint8Array, id: number) => image.subarray(id * pageSize, (id + 1) * pageSize);
      const ids = Array.from({ length: state.highWaterMark }, (_, id) => id).filter(
        (id) =>
          id === meta || (id > 1 && Buffer.compare(page(state.image, id), page(parent.image, id)) !== 0),
      );
      const attrs = segmentAttrs({
        ...{ pre: parent.stateHash, post: state.stateHash, stampMs, source: "bolt-file" },
      });
      const header = { txId, parentTxId: parent.txId, pageSize, createdAt: stampMs / 1000, attrs };
      const pages = ids.map((id) => ({ id: BigInt(id), overflow: 0, data: page(state.image, id) }));
      return {
        name: segmentName({ generation, parentTxId: parent.txId, txId, stampMs }),
        bytes: encodeSegment(
          { ...header, highWaterMark: BigInt(state.highWaterMark), pages },
          { compression },
        ),
      };
    },
  };
}
