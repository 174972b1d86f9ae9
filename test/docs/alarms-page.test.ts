import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { errorTable } from "@pageferry/format";

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/operations.md"), "utf8");

/** The codes in the first column of the first table after `words`. */
function alarmsAfter(words: string): Set<string> {
  const at = page.indexOf(words);
  assert.ok(at >= 0, words);
  const lines = page.slice(at).split("\n");
  const first = lines.findIndex((line) => line.startsWith("| --- "));
  const rows = lines.slice(
    first + 1,
    lines.findIndex((line, index) => index > first && !line.startsWith("|")),
  );
  const cells = rows.map((row) => row.split("|")[1] ?? "");
  return new Set(cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code)));
}

/** Sources of a package, without tests and what only tests use. */
function sourcesOf(name: string): { readonly path: string; readonly text: string }[] {
  const paths = globSync(`packages/${name}/src/**/*.ts`, { cwd: root });
  return paths
    .filter((path) => !/\.test\.ts$|\/simulated-|\/conformance\.ts$/.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

suite("the alarms in docs/operations.md", () => {
  test("of the agent are lag and all codes there are: whatever fails there, or at its host, becomes one", () => {
    const documented = alarmsAfter("Alarms of the agent");

    assert.deepEqual([...documented].sort(), [...Object.keys(errorTable), "lag"].sort());
  });

  test("of the host have a row for every code that is raised there", () => {
    const documented = alarmsAfter("Alarms of the host");
    const raised = sourcesOf("functions")
      .filter(({ text }) => /\braise\(/.test(text))
      .flatMap(({ path, text }) =>
        [...text.matchAll(/\bcode: "([a-z-]+)"/g)].map(([, code = ""]) => ({ path, code })),
      );

    assert.ok(
      raised.some(({ code }) => code === "silent"),
      "it finds what is raised",
    );
    assert.deepEqual(
      raised.filter(({ code }) => !documented.has(code)),
      [],
    );
  });
});
