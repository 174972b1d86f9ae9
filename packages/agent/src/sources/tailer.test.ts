import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { recordedHistory, withoutFreelists } from "./simulated-file.ts";
import { type Mean, runCampaign } from "./simulated-tailer.ts";

const chain = await recordedHistory("replica", "0862e0be1cb6d5ca");
const chainLater = await recordedHistory("replica", "45c401b6d4ba52fe");
const reach = await recordedHistory("replica-nofreelist", "78f6c0c032c4d12e");
const largePages = await recordedHistory("replica-16k-none", "3dbfa069db76585f");

/** From one piece in a hundred reads to several commits between two reads. */
const means: readonly Mean[] = [0.01, 0.05, 0.2, 0.4, 0.7, 1, 4, "changing", "changing"];

// Every event is held against the truth by the consumer: page sets of single transactions against what bolt wrote, and the
// live pages, state hash, high-water mark and meta of every state. Here only: did the campaign see what it is about?
suite("capture beside a bolt writer that goes on between any two reads", () => {
  test("gives every state as it was where the freelist is on disk", () => {
    const figures = runCampaign({ histories: [chain, chainLater, largePages], means, seeds: 1 });

    assert.ok(figures.singles > 1000 && figures.ranges > 50);
    assert.ok(figures.breaks > 5 && figures.scanRestarts > 50);
  });

  test("gives every state as it was where the freelist is not on disk", () => {
    const withoutAny = withoutFreelists(chain, () => false);
    const figures = runCampaign({ histories: [reach, withoutAny], means, seeds: 1 });

    assert.ok(figures.singles > 700 && figures.ranges > 15);
    assert.ok(figures.breaks > 5 && figures.scanRestarts > 50);
  });

  test("gives every state as it was where the freelist comes and goes with any commit", () => {
    const every = [2, 3, 7].map((step) => withoutFreelists(chain, (txId) => txId % step === 0));
    const phases = withoutFreelists(chainLater, (txId) => txId % 40 < 20);
    const figures = runCampaign({ histories: [...every, phases], means, seeds: 1 });

    assert.ok(figures.singles > 1500 && figures.ranges > 30);
  });

  test("merges what nobody takes, and loses nothing", () => {
    const withoutAny = withoutFreelists(chain, () => false);
    const figures = runCampaign({ histories: [chain, withoutAny], means, seeds: 1, heldBack: 0.7 });

    assert.ok(figures.ranges > 80);
  });

  test("gives bases beside the deltas, whatever the pace", () => {
    const withoutAny = withoutFreelists(chainLater, () => false);
    const figures = runCampaign({ histories: [chain, withoutAny], means, seeds: 1, baseChance: 0.03 });

    assert.ok(figures.bases > 100 && figures.singles > 500, JSON.stringify(figures));
  });

  test("gives every state as it was where another thread keeps the links, and scans and bases end at any pace", () => {
    const phases = withoutFreelists(chainLater, (txId) => txId % 40 < 20);
    const histories = [chain, phases];
    const all = runCampaign({ histories: [chain], means, seeds: 1, missedLinks: 0, baseChance: 0.01 });
    const some = runCampaign({ histories, means, seeds: 1, missedLinks: 0.1, baseChance: 0.01 });

    assert.equal(all.breaks, 0, JSON.stringify(all));
    assert.ok(all.ranges > 50 && all.bases > 50, JSON.stringify(all));
    assert.ok(some.breaks > 3, JSON.stringify(some));
  });

  test("gives every state as it was where another thread keeps the changed paths, and scans and bases end at any pace", () => {
    const every = [2, 7].map((step) => withoutFreelists(chain, (txId) => txId % step === 0));
    const histories = [
      reach,
      withoutFreelists(chain, () => false),
      withoutFreelists(chainLater, () => false),
    ];
    const all = runCampaign({ histories, means, seeds: 2, missedLinks: 0, baseChance: 0.01 });
    const some = runCampaign({ histories, means, seeds: 1, missedLinks: 0.1, baseChance: 0.01 });
    const mixed = runCampaign({ histories: every, means, seeds: 1, missedLinks: 0.02, heldBack: 0.3 });

    assert.equal(all.breaks, 0, JSON.stringify(all));
    // Two of the histories begin with a freelist: where it goes away within the first scan, that begins again.
    assert.ok(all.scanRestarts <= 36, JSON.stringify(all));
    assert.ok(all.singles > 2000 && all.ranges > 50 && all.bases > 50, JSON.stringify(all));
    assert.ok(some.breaks > 3, JSON.stringify(some));
    assert.ok(mixed.singles > 500, JSON.stringify(mixed));
  });

  test("finds that the pages of every delta add up", () => {
    const figures = runCampaign({ histories: [chain], means: [0.2, "changing"], seeds: 3 });

    assert.equal(figures.refusals, 0);
  });
});
