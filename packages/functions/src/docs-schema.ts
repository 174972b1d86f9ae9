// The routes of the API's own documentation.

import { route } from "./route.ts";

export const documentRoute = route({
  ...{ method: "get", path: "/openapi.json", tag: "host" },
  summary: "This document",
  description: "It is the same in every host of this version.",
  answers: { 200: { description: "OpenAPI 3.1.", type: "application/json" } },
  isPolled: true,
});
