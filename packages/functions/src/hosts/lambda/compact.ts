// The function that merges windows, builds snapshots, and looks how databases stand.

import { compactTask, scheduled } from "./schedules.ts";

export const handler = scheduled(compactTask);
