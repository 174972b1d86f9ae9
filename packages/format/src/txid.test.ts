import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { formatTxId, parseTxId, txId } from "./txid.ts";

const anyTxId = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(txId);

suite("a transaction id", () => {
  test("is written as 16 hex digits and read back", () => {
    fc.assert(
      fc.property(anyTxId, (id) => {
        const text = formatTxId(id);

        assert.match(text, /^[0-9a-f]{16}$/);
        assert.equal(parseTxId(text), id);
      }),
    );
  });

  test("sorts alike as a number and as text", () => {
    fc.assert(fc.property(anyTxId, anyTxId, (a, b) => assert.equal(a < b, formatTxId(a) < formatTxId(b))));
  });

  test("of fewer than 16 digits is read as a decimal", () => {
    assert.equal(parseTxId("10"), 10n);
    assert.equal(parseTxId("0000000000000010"), 16n);
  });

  for (const text of ["", "x", "-1", "1.5", "00000000000000000", "000000000000000g", " 7", "1e3"]) {
    test(`is not "${text}"`, () => {
      assert.throws(() => parseTxId(text), { code: "bad-request" });
    });
  }

  for (const value of [-1, -1n, 2n ** 64n, 1.5, 2 ** 53, Number.NaN]) {
    test(`is not ${value}`, () => {
      assert.throws(() => txId(value), { code: "bad-request" });
    });
  }
});
