import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import { decideGeneration, type FoundState, type KnownState } from "./decide-generation.ts";

const identity = { device: "2049", inode: "12", birthtimeNs: "99", bootId: "boot", machineId: "machine" };
const known: KnownState = { txId: txId(100), stateHash: 7n, identity };

function found(changes: Partial<FoundState>): FoundState {
  return { txId: txId(101), stateHash: 8n, identity, isSuspect: false, hasDiff: true, ...changes };
}

suite("a restart", () => {
  test("continues the generation where the same file on the same boot moved on", () => {
    assert.deepEqual(decideGeneration(known, found({})), {
      reason: "continue",
      via: "continue",
      parent: { txId: 100n, stateHash: 7n },
    });
  });

  test("continues also without a page table, because the file cannot have lost anything", () => {
    assert.equal(decideGeneration(known, found({ hasDiff: false })).via, "continue");
  });

  test("continues where the state is the very same, also after a reboot or in another file", () => {
    for (const change of [{ bootId: "later" }, { inode: "13" }, { birthtimeNs: "100" }]) {
      const same = found({ txId: txId(100), stateHash: 7n, identity: { ...identity, ...change } });

      assert.equal(decideGeneration(known, same).via, "continue");
    }
  });

  test("begins anew on another machine, also where the state is the very same", () => {
    const clone = found({ txId: txId(100), stateHash: 7n, identity: { ...identity, machineId: "clone" } });

    assert.deepEqual(decideGeneration(known, clone), {
      reason: "unprovable",
      via: "snapshot",
      parent: { txId: 100n, stateHash: 7n },
    });
  });

  test("never trusts an unknown boot or machine", () => {
    const nowhere = { ...identity, bootId: "", machineId: "" };

    assert.equal(
      decideGeneration({ ...known, identity: nowhere }, found({ identity: nowhere })).reason,
      "unprovable",
    );
  });

  test("bridges after a reboot, so that it costs no full upload", () => {
    const rebooted = found({ identity: { ...identity, bootId: "later" } });

    assert.equal(decideGeneration(known, rebooted).reason, "unprovable");
    assert.equal(decideGeneration(known, rebooted).via, "bridge");
    assert.equal(decideGeneration(known, { ...rebooted, hasDiff: false }).via, "snapshot");
  });

  test("notices the same txid with other data behind it, and takes a snapshot", () => {
    const lie = found({ txId: txId(100), stateHash: 9n });

    assert.deepEqual(decideGeneration(known, lie), {
      reason: "unprovable",
      via: "snapshot",
      parent: { txId: 100n, stateHash: 7n },
    });
  });

  test("takes a snapshot where the txid went back: a bridge would stand below its parent", () => {
    const back = found({ txId: txId(60) });

    assert.equal(decideGeneration(known, back).reason, "replaced");
    assert.equal(decideGeneration(known, back).via, "snapshot");
    assert.equal(
      decideGeneration(known, { ...back, identity: { ...identity, bootId: "later" } }).reason,
      "unprovable",
    );
  });

  test("bridges to a file that was renamed over the path", () => {
    const other = found({ identity: { ...identity, inode: "13" } });

    assert.equal(decideGeneration(known, other).reason, "replaced");
    assert.equal(decideGeneration(known, other).via, "bridge");
  });

  test("does not continue what looked wrong while it was watched", () => {
    assert.equal(decideGeneration(known, found({ isSuspect: true })).reason, "replaced");
  });

  test("obeys when it is told to begin anew", () => {
    assert.equal(decideGeneration(known, found({}), "restored").reason, "restored");
    assert.equal(decideGeneration(known, found({}), "fork").via, "bridge");
    assert.equal(
      decideGeneration(known, found({ txId: txId(100), stateHash: 7n }), "restored").via,
      "snapshot",
    );
  });

  test("bridges from what a file was restored to, also where it is just that", () => {
    const same = { txId: txId(100), stateHash: 7n };
    const decide = (changes: Partial<FoundState>, forced: "restored" | "fork" = "restored") =>
      decideGeneration(known, found(changes), forced, true);

    assert.deepEqual(decide(same), { reason: "restored", via: "bridge", parent: same });
    assert.deepEqual(decide({ ...same, hasDiff: false }).via, "bridge");
    assert.equal(decide({}).via, "bridge");
    assert.equal(decide({ hasDiff: false }).via, "snapshot");
    assert.equal(decide({ ...same, stateHash: 8n }).via, "snapshot");
    assert.equal(decide({ txId: txId(99) }).via, "snapshot");
    assert.equal(decide(same, "fork").via, "snapshot");
  });

  test("begins with a snapshot where nothing is known", () => {
    assert.deepEqual(decideGeneration(null, found({})), { reason: "first", via: "snapshot", parent: null });
  });
});
