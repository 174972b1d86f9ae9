// docs/errors.md, made from the table of codes. `node -C @pageferry/source test/docs/errors-page.ts` writes it; errors-page.test.ts compares.

import { writeFileSync } from "node:fs";
import { type ErrorCode, errorTable } from "@pageferry/format";

/** Where the page lies. */
export const errorsPagePath = new URL("../../docs/errors.md", import.meta.url);

const intro = `# Errors

Written from the table in \`packages/format/src/errors.ts\`, never by hand.

A failing command says one line for what happened and one for what to do, on standard error, and ends with an exit code of its
own; \`--json\` adds \`{"error":{"code","message","hint"}}\` on standard output. The HTTP API answers
\`application/problem+json\` with the same code and hint. 0 is success, 1 an error nobody foresaw (set \`PAGEFERRY_DEBUG=1\` to
see where), 130 and 143 are SIGINT and SIGTERM. \`up\`, \`serve\` and \`replicate\` drain on a signal and end with 0.

**retry**: it may pass by itself, and is tried again. **rotate**: this history cannot go on, another one is begun or chosen.
**stop**: somebody has to do something.

`;

/** The whole page. */
export function errorsPage(): string {
  const rows = (Object.keys(errorTable) as ErrorCode[]).map((code) => {
    const entry: { remedy: string; exitCode: number; status?: number; when: string; hint: string } =
      errorTable[code];
    return `| \`${code}\` | ${entry.when} | ${entry.hint} | ${entry.remedy} | ${entry.exitCode} | ${entry.status ?? "–"} |`;
  });
  const header = [
    "| code | when | what to do | remedy | exit | HTTP |",
    "| --- | --- | --- | --- | --- | --- |",
  ];
  return `${intro}${[...header, ...rows].join("\n")}\n`;
}

if (import.meta.main) writeFileSync(errorsPagePath, errorsPage());
