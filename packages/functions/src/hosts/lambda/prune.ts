// The function that lets go of what retention does not keep: the only one with the right to delete.

import { pruneTask, scheduled } from "./schedules.ts";

export const handler = scheduled(pruneTask);
