import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { configKeys, errorTable, replicaShapes } from "@pageferry/format";

const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");

/** The rows of the table whose header row is `header`. */
function rowsUnder(header: string): string[][] {
  const lines = page.slice(page.indexOf(header)).split("\n").slice(2);
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(0, end).map((line) => line.split("|").map((cell) => cell.trim()));
}

const codeIn = (cell: string | undefined): string[] =>
  [...(cell ?? "").matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? "");

suite("docs/operations.md", () => {
  test("has a row for every key of the configuration, and no other", () => {
    const documented = rowsUnder("| key | default | meaning |").flatMap((row) => codeIn(row[1]));

    assert.deepEqual(documented.toSorted(), configKeys.toSorted());
  });

  test("has every key of every type of replica", () => {
    const rows = rowsUnder("| type | keys | URL |");

    const documented = Object.fromEntries(rows.map((row) => [codeIn(row[1])[0], codeIn(row[2]).toSorted()]));
    const known = Object.fromEntries(
      Object.entries(replicaShapes).map(([type, shape]) => [type, Object.keys(shape).toSorted()]),
    );
    assert.deepEqual(documented, known);
  });

  test("has a place to look at for every error, and for no other", () => {
    const rows = rowsUnder("| code | most often | look at |");

    assert.deepEqual(rows.flatMap((row) => codeIn(row[1])).toSorted(), Object.keys(errorTable).toSorted());
    for (const row of rows) assert.ok((row[2] ?? "") !== "" && (row[3] ?? "") !== "", row.join("|"));
  });
});
