// Packs every published package and asks publint and attw whether a stranger could install and import it. Run after a build.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");
const bin = join(root, "node_modules", ".bin");
let failed = 0;

for (const folder of readdirSync(join(root, "packages")).sort()) {
  const directory = join(root, "packages", folder);
  const { name, private: isPrivate } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
  if (isPrivate) continue;
  for (const [tool, ...args] of [
    ["publint", "run", directory, "--strict"],
    ["attw", "--pack", directory, "--profile", "esm-only", "--format", "ascii", "--no-emoji"],
  ]) {
    const { status, stdout, stderr } = spawnSync(join(bin, tool), args, { cwd: directory, encoding: "utf8" });
    console.log(`${name}: ${tool} ${status === 0 ? "ok" : "FAILED"}`);
    if (status === 0) continue;
    failed += 1;
    console.log(stdout, stderr);
  }
}

process.exitCode = failed > 0 ? 1 : 0;
