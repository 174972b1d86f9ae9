import { conformance } from "../conformance.ts";
import { memoryStore } from "./memory.ts";

conformance("memory", {
  open: () => memoryStore(),
  exceptions: {
    "streams a large object in and out without holding it": "it is memory",
  },
});
