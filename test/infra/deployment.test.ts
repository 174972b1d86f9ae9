// The deployment of this repository, evaluated without a cloud account, for production and for another stage: every rule holds in both.

import { execFile } from "node:child_process";
import { before, describe, it } from "node:test";
import { promisify } from "node:util";
import { evaluate } from "./evaluate.ts";
import type { Graph } from "./graph.ts";
import { repository } from "./platform.ts";
import { rules } from "./rules.ts";

/** The handlers, bundled from these sources. */
before(() =>
  promisify(execFile)("npm", ["run", "--silent", "build:lambda", "-w", "packages/functions"], {
    cwd: repository,
  }),
);

for (const stage of ["production", "dev"]) {
  describe(`the deployment, stage ${stage}`, () => {
    let graph: Graph;
    before(async () => {
      graph = await evaluate({ stage });
    });

    for (const [sentence, rule] of Object.entries(rules)) it(sentence, () => rule(graph));
  });
}
