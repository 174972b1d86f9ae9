import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { errorTable } from "@pageferry/format";
import { Validator } from "@seriousme/openapi-schema-validator";
import { type ApiOptions, createApi } from "./api.ts";
import { scopes } from "./scopes.ts";

/** The API over parts that nobody asks. */
const app = createApi({
  authenticate: () => Promise.reject(new Error("nobody is asked who calls")),
  metrics: async () => ({ contentType: "text/plain", body: "" }),
  images: {},
  signer: {},
  events: {},
  stagePlace: {},
  onUnexpected: (error: unknown) => assert.fail(String(error)),
} as unknown as ApiOptions);

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly description?: string;
  }[];
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: object }>>;
}

interface Document {
  readonly openapi: string;
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const read = async (): Promise<Document> => (await app.request("/openapi.json")).json() as Promise<Document>;

const operationsOf = ({ paths }: Document) =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ name: `${method} ${path}`, operation })),
  );

suite("the OpenAPI document", () => {
  test("is one, by the schema of OpenAPI 3.1", async () => {
    const document = await read();

    const { valid, errors } = await new Validator().validate(document as never);

    assert.deepEqual([valid, errors], [true, undefined]);
    assert.match(document.openapi, /^3\.1\./);
  });

  test("has each route that is served, but for the page's, and no other", async () => {
    const isPage = (path: string) => /^\/(?:$|db\/|sign-|assets\/)/.test(path);
    const served = app.routes
      .filter(({ method, path }) => method !== "ALL" && !isPage(path))
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`);

    assert.deepEqual(
      operationsOf(await read())
        .map(({ name }) => name)
        .sort(),
      [...new Set(served)].sort(),
    );
  });

  test("says of each what it is, what it needs and what may go wrong", async () => {
    const document = await read();
    const chapters = document.tags.map(({ name }) => name);
    const open = ["get /healthz", "get /openapi.json", "get /docs/api"];

    for (const { name, operation } of operationsOf(document)) {
      const { tags, summary, security, parameters = [], responses } = operation;
      assert.ok(tags.length === 1 && chapters.includes(tags[0] ?? ""), name);
      assert.ok(summary.length > 0, name);
      const asked = security.flatMap(({ bearer = [] }) => bearer);
      assert.equal(asked.length === 0, open.includes(name), name);
      assert.ok(
        asked.every((scope) => (scopes as readonly string[]).includes(scope)),
        name,
      );
      for (const parameter of parameters) assert.ok(parameter.description, `${name}: ${parameter.name}`);
      for (const [status, { content = {} }] of Object.entries(responses)) {
        if (Number(status) >= 400 && status !== "416" && name !== "get /healthz")
          assert.deepEqual(Object.keys(content), ["application/problem+json"], `${name} ${status}`);
      }
      for (const status of ["400", ...(asked.length > 0 ? ["401", "403", "429"] : [])])
        assert.ok(status in responses, `${name} ${status}`);
    }
  });

  test("names each operation once, and no code that is none", async () => {
    const operations = operationsOf(await read());
    const ids = operations.map(({ operation }) => operation.operationId);

    assert.equal(new Set(ids).size, ids.length);
    for (const { name, operation } of operations) {
      for (const [status, { description }] of Object.entries(operation.responses)) {
        if (Number(status) < 400) continue;
        for (const [, code = ""] of description.matchAll(/^`([a-z-]+)`:/gm))
          assert.ok(Object.hasOwn(errorTable, code), `${name} ${code}`);
      }
    }
  });

  test("is public: what the API is, is the same in every host", async () => {
    assert.equal((await app.request("/openapi.json")).status, 200);
    assert.equal((await app.request("/docs/api")).status, 200);
  });
});

suite("the reference page", () => {
  test("has each operation and schema, and every link leads somewhere in it", async () => {
    const page = await (await app.request("/docs/api")).text();
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));

    for (const { operation } of operationsOf(await read())) assert.ok(ids.has(operation.operationId));
    for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) assert.ok(ids.has(target), target);
    for (const [, link = ""] of page.matchAll(/href="([^"#][^"]*)"/g)) assert.equal(link, "/openapi.json");
  });

  test("needs no script and nothing from elsewhere, and may not be framed", async () => {
    const answer = await app.request("/docs/api");
    const page = await answer.text();
    const policy = answer.headers.get("content-security-policy") ?? "";

    assert.doesNotMatch(page, /<script|<img|<iframe|<link|javascript:| on[a-z]+=| style=/i);
    assert.match(policy, /^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; /);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
    assert.match(answer.headers.get("content-type") ?? "", /^text\/html/);
  });
});
