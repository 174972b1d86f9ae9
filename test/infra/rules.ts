// Every rule that a deployment holds, by a sentence about it.

import type { Graph } from "./graph.ts";
import { dataRules } from "./rules-data.ts";
import { functionRules } from "./rules-functions.ts";
import { rightsRules } from "./rules-rights.ts";

export const rules: Readonly<Record<string, (graph: Graph) => void>> = {
  ...dataRules,
  ...rightsRules,
  ...functionRules,
};
