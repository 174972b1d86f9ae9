// The function that brings to each replica what another one has.

import { repairTask, scheduled } from "./schedules.ts";

export const handler = scheduled(repairTask);
