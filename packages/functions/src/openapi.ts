// The OpenAPI document, made of the routes themselves. It is the same in every host of a version, and holds nothing of this one.

import type { Hono } from "hono";
import { type GenerateSpecOptions, generateSpecs } from "hono-openapi";
import { tags } from "./route.ts";
import { scopes } from "./scopes.ts";
import { packageVersion } from "./version.ts";

/** The document, as far as others read it. */
export type ApiDocument = Awaited<ReturnType<typeof generateSpecs>>;

const about = `Continuous, page-level backup for bolt databases: how it stands, what can be restored, and what is made of it.

Errors are \`application/problem+json\` with a \`code\`, one of docs/errors.md, and a \`hint\`. Every answer carries \`x-request-id\`; one that is sent is echoed.`;

const bearer = {
  type: "http",
  scheme: "bearer",
  description: `The host's own token, or one that \`pageferry token create\` made. It carries scopes, of ${scopes.join(", ")}, and is for all databases or for some.`,
} as const;

/** Describes what was added to the app so far. */
export function describeApi(app: Hono): Promise<ApiDocument> {
  const documentation: GenerateSpecOptions["documentation"] = {
    info: {
      title: "pageferry",
      version: packageVersion(),
      description: about,
      license: { name: "MIT", identifier: "MIT" } as never,
    },
    servers: [{ url: "/" }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    components: { securitySchemes: { bearer } },
  };
  return generateSpecs(app, {
    documentation,
    excludeStaticFile: false,
    defaultValidationErrorResponse: false,
  });
}
