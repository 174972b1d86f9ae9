// The routes of the API, for those who call them: `client.call(pointsRoute, …)`. Nothing of the host comes with it.

import type { repairRoute, verifyRoute } from "./repair-schema.ts";
import type { AnswerOf } from "./route.ts";
import type { compactRoute } from "./time-schema.ts";

export { companionsRoute } from "./companions-schema.ts";
export { databaseRoute, databasesRoute, pointsRoute } from "./databases-schema.ts";
export { inspectGetRoute, inspectLsRoute } from "./inspect-schema.ts";
export { manifestKeyRoute, manifestRoute, objectRoute } from "./manifest-schema.ts";
export { repairRoute, replayRoute, verifyRoute } from "./repair-schema.ts";
export { type AnswerOf, answerSchema, type ParamsOf, type QueryInputOf, type Route } from "./route.ts";
export { compactRoute, pinRoute, pinsRoute, pruneRoute, unpinRoute } from "./time-schema.ts";

export { waitRoute } from "./wait-schema.ts";

/** Reports, as a host sends them. */
export type RepairReportJson = AnswerOf<typeof repairRoute>;
export type VerifyReportJson = AnswerOf<typeof verifyRoute>;
export type CompactReportJson = AnswerOf<typeof compactRoute>;
