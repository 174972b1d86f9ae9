// The function that restores points and checks them.

import { scheduled, verifyTask } from "./schedules.ts";

export const handler = scheduled(verifyTask);
