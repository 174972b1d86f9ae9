// Every rule, broken once in the source, is caught: a rule that cannot fail proves nothing.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { controls } from "./controls.ts";
import { evaluate } from "./evaluate.ts";
import { rules } from "./rules.ts";

/** An evaluation is one process, most of whose time is one core's. */
const atOnce = 2;

describe("rules, each broken once", { concurrency: atOnce }, () => {
  it("are all of them broken", () => {
    const broken = new Set(controls.flatMap(({ breaks }) => breaks));
    assert.deepEqual([...broken].sort(), Object.keys(rules).sort());
  });

  for (const { breaks, ...mutation } of controls) {
    it(`${mutation.file}, without ${mutation.from.split("\n").at(-1)?.trim()}: ${breaks.join(" and ")}`, async () => {
      const graph = await evaluate({ mutations: [mutation], standIns: true });
      for (const sentence of breaks) {
        const rule = rules[sentence];
        assert.ok(rule, `no rule says: ${sentence}`);
        assert.throws(() => rule(graph), Error, sentence);
      }
    });
  }
});
