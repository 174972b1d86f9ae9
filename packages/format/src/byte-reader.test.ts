import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { createByteReader } from "./byte-reader.ts";

suite("a byte reader", () => {
  test("gives the same bytes whatever the chunks, and whichever way they are asked for", async () => {
    const anyStep = fc.record({
      how: fc.constantFrom("peek", "take", "some"),
      count: fc.integer({ min: 1, max: 50 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 20 })),
        fc.array(anyStep),
        async (chunks, steps) => {
          const all = Buffer.concat(chunks);
          const reader = createByteReader(chunks, "x");
          let at = 0;
          for (const { how, count } of steps) {
            const left = all.length - at;
            if (how === "peek") {
              assert.deepEqual(Buffer.from(await reader.peek(count)), all.subarray(at, at + count));
            } else if (count > left) {
              await assert.rejects(how === "take" ? reader.take(count) : reader.take(left + 1), {
                code: "corrupt",
              });
            } else {
              const taken = await reader[how as "take" | "some"](count);
              assert.deepEqual(Buffer.from(taken), all.subarray(at, at + taken.length));
              assert.ok(how === "take" ? taken.length === count : taken.length > 0);
              at += taken.length;
            }
            assert.equal(reader.position(), at);
          }
        },
      ),
    );
  });

  test("tells its source when no more is wanted", async () => {
    let isClosed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield new Uint8Array(5);
        yield new Uint8Array(5);
      } finally {
        isClosed = true;
      }
    }
    const reader = createByteReader(source(), "x");

    await reader.take(3);
    await reader.close();

    assert.ok(isClosed);
  });

  test("reads one byte at a time in linear time", async () => {
    const cpuUsedBy = async (count: number): Promise<number> => {
      const reader = createByteReader(
        Array.from({ length: count }, () => Uint8Array.of(1)),
        "x",
      );
      const before = process.cpuUsage();
      assert.equal((await reader.take(count)).length, count);
      return process.cpuUsage(before).user;
    };
    await cpuUsedBy(20_000);

    const [few, many] = [await cpuUsedBy(20_000), await cpuUsedBy(400_000)];

    // Twenty times the bytes: copying what was read before each of them would take four hundred times the work.
    assert.ok(many < 150 * Math.max(few, 1000), `${few} µs for 20,000 bytes, ${many} µs for 400,000`);
  });
});
