// The routes of the API's own documentation.

import { route } from "./route.ts";

export const documentRoute = route({
  ...{ method: "get", path: "/openapi.json", tag: "host" },
  summary: "This document",
  description: "It is the same in every host of this version.",
  answers: { 200: { description: "OpenAPI 3.1.", type: "application/json" } },
  isPolled: true,
});

export const referenceRoute = route({
  ...{ method: "get", path: "/docs/api", tag: "host" },
  summary: "This document, for people",
  answers: { 200: { description: "A page, without a script.", type: "text/html" } },
  isPolled: true,
});
