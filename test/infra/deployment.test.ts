// The deployment of this repository, evaluated without a cloud account, for production and for another stage: every rule holds in both.

import { before, describe, it } from "node:test";
import { evaluate } from "./evaluate.ts";
import type { Graph } from "./graph.ts";
import { rules } from "./rules.ts";

for (const stage of ["production", "dev"]) {
  describe(`the deployment, stage ${stage}`, () => {
    let graph: Graph;
    before(async () => {
      graph = await evaluate({ stage });
    });

    for (const [sentence, rule] of Object.entries(rules)) it(sentence, () => rule(graph));
  });
}
