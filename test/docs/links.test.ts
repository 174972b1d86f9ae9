import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { suite, test } from "node:test";

const root = join(import.meta.dirname, "../..");
const sources = globSync("packages/*/src/**/*.ts", { cwd: root }).filter(
  (path) => !path.endsWith(".test.ts"),
);
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...globSync("{docs,docs/decisions,packages/*,test,bench}/*.md", { cwd: root }),
];

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(path: string): Set<string> {
  const headings = readFileSync(join(root, path), "utf8").matchAll(/^#+ (.+)$/gm);
  const slugs = [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
  return new Set(slugs);
}

/** What is wrong with a link, or undefined. */
function brokenLink(target: string): string | undefined {
  const [path = "", anchor] = target.split("#");
  if (!existsSync(join(root, path))) return `${path} is not there`;
  return anchor === undefined || !path.endsWith(".md") || anchorsOf(path).has(anchor)
    ? undefined
    : `${path} has no #${anchor}`;
}

suite("a link", () => {
  test("in a comment leads to a page and a heading that are there", () => {
    const broken = sources.flatMap((source) => {
      const links = readFileSync(join(root, source), "utf8").matchAll(/\bdocs\/[\w/.-]+\.md(#[\w-]+)?/g);
      return [...links].flatMap(([target]) => brokenLink(target) ?? []).map((why) => `${source}: ${why}`);
    });
    assert.deepEqual([...new Set(broken)], []);
  });

  test("in a document leads to a page and a heading that are there", () => {
    const broken = pages.flatMap((page) => {
      const links = readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:)([^)\s]+)\)/g);
      return [...links].flatMap(([, target = ""]) => {
        const inPage = target.startsWith("#")
          ? `${page}${target}`
          : relative(root, join(root, dirname(page), target));
        const why = brokenLink(inPage);
        return why === undefined ? [] : [`${page}: ${why}`];
      });
    });
    assert.deepEqual(broken, []);
  });
});
