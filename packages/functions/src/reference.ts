// The reference as a page: the document laid out for people, without a script or anything from elsewhere.

import { createHash } from "node:crypto";
import { html, raw } from "hono/html";
import type { ApiDocument } from "./openapi.ts";
import { referenceStyle } from "./reference-style.ts";
import { nameOfRef, type SchemaJson, typeOf } from "./schema-words.ts";

type Html = ReturnType<typeof html>;

/** What of an operation is shown. */
interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: {
    readonly description: string;
    readonly content: Readonly<Record<string, unknown>>;
  };
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: SchemaJson;
}

interface Answer {
  readonly description: string;
  readonly content?: Readonly<Record<string, { readonly schema: SchemaJson }>>;
}

interface Place {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** Nothing may be loaded, run, framed or sent; the style is named by its hash. */
export const referencePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(referenceStyle).digest("base64")}'`,
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join("; ");

/** Lays the document out. */
export async function referencePage(document: ApiDocument): Promise<string> {
  const { info, tags = [] } = document;
  const places = placesOf(document);
  const chapters = tags.map(({ name, description = "" }) => ({
    ...{ name, description },
    places: places.filter(({ operation }) => operation.tags.includes(name)),
  }));
  const schemas = Object.entries(document.components.schemas ?? {}) as [string, SchemaJson][];
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${info.title} ${info.version}: the API</title>
<style>${raw(referenceStyle)}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header>
<h1>${info.title} <small>${info.version}</small></h1>
${paragraphs(info.description ?? "")}
<p>For programs: <a href="/openapi.json">/openapi.json</a>, OpenAPI 3.1.</p>
</header>
<nav aria-label="Contents">
${chapters.map(({ name, places: own }) => html`<h2><a href="#tag-${name}">${name}</a></h2><ul>${own.map(linkTo)}</ul>`)}
<h2><a href="#schemas">schemas</a></h2>
<ul>${schemas.map(([name]) => html`<li><a href="#schema-${name}">${name}</a></li>`)}</ul>
</nav>
<main id="main">
${chapters.map(
  ({ name, description, places: own }) => html`<section aria-labelledby="tag-${name}">
<h2 id="tag-${name}">${name}</h2>
<p>${description}</p>
${own.map(operationSection)}
</section>`,
)}
<section aria-labelledby="schemas">
<h2 id="schemas">schemas</h2>
${schemas.map(schemaSection)}
</section>
</main>
</body>
</html>
`;
  return String(await page);
}

function placesOf({ paths }: ApiDocument): readonly Place[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item as Readonly<Record<string, Operation>>).map(([method, operation]) => ({
      ...{ method: method.toUpperCase(), path, operation },
    })),
  );
}

function linkTo({ method, path, operation }: Place): Html {
  return html`<li><a href="#${operation.operationId}"><b>${method}</b> ${path}</a></li>`;
}

function operationSection({ method, path, operation }: Place): Html {
  const { operationId, summary, description, parameters = [], requestBody, responses } = operation;
  return html`<article aria-labelledby="${operationId}">
<h3 id="${operationId}"><b>${method}</b> <code>${path}</code></h3>
<p class="summary">${summary}</p>
${paragraphs(description)}
${parameters.length === 0 ? "" : parameterTable(parameters)}
${
  requestBody === undefined
    ? ""
    : html`<p>Body: <code>${Object.keys(requestBody.content).join(", ")}</code>. ${words(requestBody.description)}</p>`
}
<table>
<thead><tr><th scope="col">answer</th><th scope="col">what</th><th scope="col">meaning</th></tr></thead>
<tbody>${Object.entries(responses).map(answerRow)}</tbody>
</table>
</article>`;
}

function parameterTable(parameters: readonly Parameter[]): Html {
  return html`<table>
<thead><tr><th scope="col">parameter</th><th scope="col">in</th><th scope="col">type</th><th scope="col">meaning</th></tr></thead>
<tbody>${parameters.map(
    ({ name, in: where, required = false, description = "", schema }) =>
      html`<tr><td><code>${name}</code></td><td>${where}</td><td>${typeWords(schema)}${required ? ", required" : ""}</td><td>${words(description)}${exampleOf(schema)}</td></tr>`,
  )}</tbody>
</table>`;
}

function answerRow([status, { description, content = {} }]: [string, Answer]): Html {
  const [[type, media] = []] = Object.entries(content);
  const what = media === undefined ? "" : html`<code>${type}</code> ${typeWords(media.schema)}`;
  return html`<tr><td><b>${status}</b></td><td>${what}</td><td>${paragraphs(description)}</td></tr>`;
}

function schemaSection([name, schema]: [string, SchemaJson]): Html {
  const required = schema.required ?? [];
  return html`<article aria-labelledby="schema-${name}">
<h3 id="schema-${name}">${name}</h3>
<p>${words(schema.description ?? "")}</p>
<table>
<thead><tr><th scope="col">field</th><th scope="col">type</th><th scope="col">meaning</th></tr></thead>
<tbody>${Object.entries(schema.properties ?? {}).map(
    ([field, of]) =>
      html`<tr><td><code>${field}</code></td><td>${typeWords(of)}${required.includes(field) ? "" : ", may be absent"}</td><td>${words(of.description ?? "")}</td></tr>`,
  )}</tbody>
</table>
${(schema.examples ?? []).map((example) => html`<pre>${JSON.stringify(example, null, 2)}</pre>`)}
</article>`;
}

function typeWords(schema: SchemaJson): Html {
  const name = nameOfRef(schema);
  return name === undefined ? html`${typeOf(schema)}` : html`<a href="#schema-${name}">${name}</a>`;
}

function exampleOf({ examples = [] }: SchemaJson): Html | string {
  const [example] = examples;
  return example === undefined ? "" : html` Such as <code>${String(example)}</code>.`;
}

function paragraphs(text: string): readonly Html[] {
  return text.split("\n\n").map((one) => html`<p>${words(one)}</p>`);
}

/** What stands between backticks is code. */
function words(text: string): readonly (Html | string)[] {
  return text.split("`").map((part, at) => (at % 2 === 1 ? html`<code>${part}</code>` : part));
}
