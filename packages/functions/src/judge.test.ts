import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type StateHash, txId } from "@pageferry/format";
import type { StateLink } from "./describe.ts";
import { areSame, judge } from "./judge.ts";

const hash = (value: number): StateHash => BigInt(value) as StateHash;

function link(
  parent: number | null,
  last: number,
  pre?: number,
  post?: number,
  checksum?: bigint,
): StateLink {
  return {
    parentTxId: parent === null ? null : txId(parent),
    txId: txId(last),
    ...(pre === undefined ? {} : { pre: hash(pre) }),
    ...(post === undefined ? {} : { post: hash(post) }),
    ...(checksum === undefined ? {} : { checksum }),
  };
}

const kinds: readonly (readonly [string, string, StateLink, StateLink[], StateLink[]])[] = [
  ["new", "nothing is stored", link(4, 5, 40, 50), [], []],
  ["new", "its parent is stored with the state it follows", link(4, 5, 40, 50), [], [link(3, 4, 30, 40)]],
  ["present", "the same states are stored", link(4, 5, 40, 50), [link(4, 5, 40, 50)], [link(3, 4, 30, 40)]],
  [
    "present",
    "a snapshot of the same state is stored",
    link(null, 5, undefined, 50),
    [link(null, 5, undefined, 50)],
    [],
  ],
  [
    "new",
    "a snapshot of its state is stored, but no way to it",
    link(4, 5, 40, 50),
    [link(null, 5, undefined, 50)],
    [],
  ],
  ["new", "a longer range ends in its state", link(4, 5, 40, 50), [link(2, 5, 20, 50)], []],
  [
    "new",
    "it is the range that closes a gap before a stored state",
    link(2, 5, 20, 50),
    [link(4, 5, 40, 50)],
    [],
  ],
  ["fork", "its transaction is stored with another state", link(4, 5, 40, 51), [link(4, 5, 40, 50)], []],
  [
    "fork",
    "a snapshot of its transaction has another state",
    link(4, 5, 40, 51),
    [link(null, 5, undefined, 50)],
    [],
  ],
  ["fork", "it follows another state than the stored parent's", link(4, 5, 41, 51), [], [link(3, 4, 30, 40)]],
  [
    "new",
    "one of two histories is its own",
    link(4, 5, 41, 51),
    [],
    [link(3, 4, 30, 40), link(3, 4, 30, 41)],
  ],
  ["new", "the stored state's hash is unknown", link(4, 5, 40, 50), [link(4, 5)], [link(3, 4)]],
  ["new", "its own hashes are unknown", link(4, 5), [link(4, 5, 40, 50)], [link(3, 4, 30, 40)]],
  [
    "present",
    "hashes are unknown and the data is equal",
    link(4, 5, undefined, undefined, 9n),
    [link(4, 5, undefined, undefined, 9n)],
    [],
  ],
  [
    "new",
    "hashes are unknown and the data is not equal",
    link(4, 5, undefined, undefined, 9n),
    [link(4, 5, undefined, undefined, 8n)],
    [],
  ],
];

suite("what comes is judged", () => {
  for (const [kind, when, incoming, same, parents] of kinds) {
    test(`${kind} when ${when}`, () => {
      assert.equal(judge(incoming, same, parents).kind, kind);
    });
  }

  test("the same as a whole object only if all its states are", () => {
    assert.ok(areSame([link(3, 4, 30, 40), link(4, 5, 40, 50)], [link(3, 4, 30, 40), link(4, 5, 40, 50)]));
    assert.ok(!areSame([link(3, 4, 30, 40), link(4, 5, 40, 50)], [link(3, 4, 30, 40), link(4, 5, 40, 51)]));
    assert.ok(!areSame([link(3, 4, 30, 40)], [link(3, 4, 30, 40), link(4, 5, 40, 50)]));
    assert.ok(!areSame([link(4, 5)], [link(4, 5)]));
  });
});
