// The function behind the API's URL.

import { createLambdaApi } from "./api-app.ts";
import { opened } from "./container.ts";
import { streamed } from "./http.ts";
import { openStanding } from "./standing.ts";

const serve = opened(async () => createLambdaApi(await openStanding("api")));

export const handler = streamed(async (request, beside) => (await serve())(request, beside));
