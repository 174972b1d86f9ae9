import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";

const root = join(import.meta.dirname, "..");

/** What the linter says of each source if it stood in that folder, in a tree that has our rules and nothing else. */
function lint(sources: readonly (readonly [folder: string, source: string])[]): string[] {
  const tree = mkdtempSync(join(tmpdir(), "pageferry-directions-"));
  try {
    for (const file of ["biome.json", "test/setup/error-cause.grit"])
      cpSync(join(root, file), join(tree, file));
    const files = sources.map(([folder, source], at) => {
      const file = join(folder, folder.includes("tests") ? `case-${at}.test.ts` : `case-${at}.ts`);
      mkdirSync(join(tree, folder), { recursive: true });
      writeFileSync(join(tree, file), source);
      return file;
    });
    return files.map((file) => {
      const args = ["lint", "--colors=off", "--vcs-enabled=false", file];
      const { stdout, stderr } = spawnSync(join(root, "node_modules/.bin/biome"), args, {
        cwd: tree,
        encoding: "utf8",
      });
      assert.match(`${stdout}${stderr}`, /Checked 1 file/);
      return `${stdout}${stderr}`;
    });
  } finally {
    rmSync(tree, { recursive: true });
  }
}

const broken: readonly [path: string, source: string, rule: RegExp][] = [
  ["packages/format/src", `import { a } from "@pageferry/agent";`, /format is the language/],
  ["packages/format/src", `import { a } from "../../functions/src/store.ts";`, /format is the language/],
  ["packages/format/src", `import { a } from "node:fs";`, /format is pure/],
  ["packages/format/src/node", `import { a } from "@pageferry/functions";`, /format is the language/],
  ["packages/agent/src", `import { a } from "@pageferry/functions";`, /meet only in @pageferry\/format/],
  ["packages/agent/src", `import { a } from "@pageferry/functions/conformance";`, /meet only in/],
  ["packages/agent/src/sources", `import { a } from "../../../functions/src/store.ts";`, /meet only in/],
  ["packages/functions/src", `import { a } from "@pageferry/agent";`, /meet only in/],
  ["packages/functions/src", `import { a } from "pageferry";`, /meet only in/],
  ["packages/functions/src/tests", `import { a } from "@pageferry/agent";`, /meet only in/],
  ["packages/cli/src", `import { a } from "../../agent/src/agent.ts";`, /by their public names/],
  ["infra", `import { a } from "@pageferry/functions";`, /imports nothing of ours/],
];

const allowed: readonly [path: string, source: string][] = [
  ["packages/format/src", `import { a } from "./names.ts";\nconsole.assert(a);`],
  ["packages/format/src/node", `import { a } from "node:fs";\nconsole.assert(a);`],
  ["packages/agent/src", `import { a } from "@pageferry/format";\nconsole.assert(a);`],
  ["packages/functions/src", `import { a } from "@pageferry/format/node";\nconsole.assert(a);`],
  ["packages/cli/src", `import { a } from "@pageferry/agent";\nconsole.assert(a);`],
  [
    "test",
    `import { a } from "@pageferry/agent";\nimport { b } from "@pageferry/functions";\nconsole.assert(a, b);`,
  ],
];

suite("the import directions", () => {
  test("are a lint error that names the rule when one is broken", () => {
    const said = lint(broken.map(([folder, source]) => [folder, source]));

    for (const [at, [folder, source, rule]] of broken.entries()) {
      assert.match(said[at] ?? "", rule, `${folder}: ${source}`);
      assert.match(said[at] ?? "", /noRestrictedImports/);
    }
  });

  test("leave alone what follows them", () => {
    for (const said of lint(allowed)) assert.doesNotMatch(said, /noRestrictedImports/);
  });
});

suite("an error that wraps another", () => {
  const wrapping = (options: string) =>
    `try { f(); } catch (error) { throw new PageferryError("corrupt", "x"${options}); }\n`;

  test("is a lint error without its cause, and fine with it", () => {
    const [without, withCause] = lint([
      ["packages/agent/src", wrapping("")],
      ["packages/agent/src", wrapping(", { cause: error }")],
    ]);

    assert.match(without ?? "", /keeps it: pass the caught one/);
    assert.doesNotMatch(withCause ?? "", /keeps it/);
  });
});
