import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeCbor } from "./cbor.ts";
import { type Envelope, encodeEnvelope } from "./envelope.ts";
import { decodeHeartbeats, encodeHeartbeats } from "./heartbeats.ts";
import { heartbeatsBytesMax, heartbeatsMax } from "./limits.ts";
import { parseDatabaseName, parseGeneration } from "./names.ts";
import { txId } from "./txid.ts";

function envelopeOf(database: string, items: Envelope["items"] = []): Uint8Array {
  return encodeEnvelope({
    database: parseDatabaseName(database),
    begin: {
      generation: parseGeneration("0123456789abcdef"),
      parent: null,
      reason: "first",
      epoch: 1,
      host: "h".repeat(255),
      pageSize: 4096,
    },
    sentAtMs: 1_700_000_000_000,
    newestTxId: txId(7),
    newestStampMs: 1_700_000_000_000,
    items,
  });
}

suite("heartbeats in one body", () => {
  test("come out as they went in, as many as may be", () => {
    const names = Array.from({ length: heartbeatsMax }, (_, at) => `${at}`.padStart(64, "d"));
    const bytes = encodeHeartbeats(names.map((name) => envelopeOf(name)));

    const found = decodeHeartbeats(bytes);

    assert.ok(bytes.length <= heartbeatsBytesMax);
    assert.deepEqual(
      found.map(({ envelope }) => envelope.database as string),
      names,
    );
    assert.deepEqual(Buffer.from(found[5]?.bytes ?? []), Buffer.from(envelopeOf(names[5] ?? "")));
    assert.deepEqual(decodeHeartbeats(encodeHeartbeats([])), []);
  });

  test("hold nothing else: neither items, nor too many, nor what is no envelope", () => {
    const name = "0123456789abcdef/segments/0000000000000001-0000000000000001-000000000001.segment.cbor";
    const withItems = envelopeOf("app", [{ name, bytes: new Uint8Array(3) }]);
    const many = Array.from({ length: heartbeatsMax + 1 }, () => envelopeOf("app"));
    for (const [bytes, code] of [
      [encodeHeartbeats([withItems]), "corrupt"],
      [encodeHeartbeats([new Uint8Array(9)]), "corrupt"],
      [encodeCbor({ version: 1, envelopes: many.map(() => new Uint8Array(1)) }), "corrupt"],
      [encodeCbor({ version: 1, envelopes: ["text"] }), "corrupt"],
      [encodeCbor({ version: 2, envelopes: [] }), "unsupported-version"],
      [encodeCbor([1]), "corrupt"],
      [new Uint8Array(), "corrupt"],
      [encodeHeartbeats([envelopeOf("app")]).subarray(0, -1), "corrupt"],
      [new Uint8Array(heartbeatsBytesMax + 1), "too-large"],
    ] as const) {
      assert.throws(() => decodeHeartbeats(bytes), { code });
    }
  });
});
