import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import { capturedIo } from "../testing/captured-io.ts";
import { run } from "./main.ts";
import { commandNames } from "./program.ts";

const golden = join(import.meta.dirname, "../../../test/golden");
const archive = join(golden, "replica/data");

interface Truth {
  readonly generation: string;
  readonly txId: string;
  readonly logicalSha256: string;
}

async function pageferry(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = capturedIo();
  const code = await run(argv, io);
  return { code, ...io.said };
}

suite("the command line", () => {
  test("shows examples in the help of every command", async () => {
    for (const name of ["", ...commandNames]) {
      const { code, out } = await pageferry(...(name === "" ? ["--help"] : [name, "--help"]));
      assert.equal(code, 0, name);
      assert.match(out, /Examples:\n {2}(PAGEFERRY_TOKEN=\S+ )?pageferry /, name);
      assert.match(out, /-h, --help/, name);
    }
  });

  test("answers what it does not understand with 2, what was wrong, and where to look", async () => {
    const cases: readonly [string[], RegExp][] = [
      [[], /^Usage: [\s\S]*error: a command is expected\n/],
      [["frobnicate"], /^error: unknown command 'frobnicate'/],
      [["check"], /^error: missing required argument 'file'\nhint: See `pageferry check --help`/],
      [["points", "--jsno", "x"], /^error: unknown option '--jsno' \(Did you mean --json\?\)/],
      [["restore", "x"], /^error: where to is not said/],
      [["restore", "-o", "x", "--txid", "zz", "y"], /^error: --txid: /],
      [["restore", "-o", "x", "--timestamp", "2026-11-22", "y"], /^error: --timestamp: /],
      [["restore", "-o", "x", "--generation", "G", "y"], /^error: --generation: /],
      [["restore", "-o", "x", "--parallelism", "0", "y"], /^error: --parallelism: /],
      [["restore", "-o", "x", "--integrity-check", "some", "y"], /^error: --integrity-check: /],
      [["restore", "-o", "x", "--txid", "1", "--timestamp", "2026-11-22T00:00:00Z", archive], /two targets/],
      [["points", "ftp://host/app"], /^error: FROM: ftp:\/\/ is no replica/],
      [["points", "http://127.0.0.1:1/"], /^error: FROM: a host's database is/],
    ];
    for (const [argv, expected] of cases) {
      const { code, out, err } = await pageferry(...argv);
      assert.equal(code, 2, argv.join(" "));
      assert.equal(out, "", argv.join(" "));
      assert.match(err, expected, argv.join(" "));
      assert.match(err, /\nhint: [A-Z`].*\n$/);
    }
  });

  test("says errors as JSON on standard output where JSON was asked for", async () => {
    const { code, out, err } = await pageferry("check", "--json", "/nowhere/app.db");

    assert.equal(code, 3);
    assert.equal(JSON.parse(out).error.code, "not-found");
    assert.match(err, /^error: /);
  });

  test("prints a stack only where PAGEFERRY_DEBUG is set", async () => {
    const quiet = capturedIo();
    const loud = capturedIo({ PAGEFERRY_DEBUG: "1" });
    await run(["check", "/nowhere/app.db"], quiet);
    await run(["check", "/nowhere/app.db"], loud);

    assert.doesNotMatch(quiet.said.err, /\n {4}at /);
    assert.match(loud.said.err, /\n {4}at /);
  });

  test("prints its version", async () => {
    const { out } = await pageferry("version", "--json");
    const { version } = JSON.parse(await readFile(join(import.meta.dirname, "../package.json"), "utf8"));

    assert.equal(JSON.parse(out).version, version);
    const option = await pageferry("--version");
    assert.equal(option.code, 0);
    assert.equal(option.out, (await pageferry("version")).out);
    assert.match(option.out, new RegExp(`^pageferry ${version} `));
  });
});

suite("the door of the command", () => {
  const bin = join(import.meta.dirname, "bin.ts");
  const pretend = (version: string) =>
    `data:text/javascript,Object.defineProperty(process.versions,"node",{value:"${version}"})`;

  test("refuses an old Node with a sentence", () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", pretend("20.20.2"), bin], {
      encoding: "utf8",
    });

    assert.equal(status, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^error: pageferry needs Node 24 or newer, and this is Node 20\.20\.2\nhint: /);
  });

  test("holds no import, no types, and nothing that an old Node cannot read", async () => {
    const source = await readFile(bin, "utf8");

    assert.equal(stripTypeScriptTypes(source), source);
    assert.doesNotMatch(source, /^import\b|\bawait\b|\?\.|\?\?|\busing\b|^export (?!\{\})/m);
  });
});

suite("pageferry points, restore and check", () => {
  let directory: string;
  let truth: readonly Truth[];
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-cli-"));
    truth = JSON.parse(await readFile(join(golden, "replica/truth.json"), "utf8")).transactions;
  });
  after(() => rm(directory, { recursive: true }));

  test("bring back any point that is listed, as it was", async () => {
    const listed = JSON.parse((await pageferry("points", "--json", pathToFileURL(archive).href)).out);
    const out = join(directory, "any.db");
    for (const point of [listed[0], listed[70], listed.at(-100), listed.at(-1)]) {
      const args = ["--txid", point.txid, "--generation", point.generation, "--force", "--json"];
      const restored = await pageferry("restore", "-o", out, ...args, archive);
      const checked = await pageferry("check", "--json", out);

      const expected = truth.find(
        ({ generation, txId }) =>
          generation === point.generation && BigInt(txId) === BigInt(`0x${point.txid}`),
      );
      assert.equal(restored.code, 0, restored.err);
      assert.equal(JSON.parse(restored.out).txid, point.txid);
      assert.equal(checked.code, 0);
      assert.equal(JSON.parse(checked.out).logicalHash, expected?.logicalSha256);
      assert.match(JSON.parse(checked.out).stateHash, /^[0-9a-f]{32}$/);
    }
  });

  test("take a txid as hex and as a decimal", async () => {
    const out = join(directory, "decimal.db");
    const { txid } = JSON.parse((await pageferry("points", "--json", archive)).out)[3];
    const restored = await pageferry(
      "restore",
      "-o",
      out,
      "--txid",
      String(BigInt(`0x${txid}`)),
      archive,
      "--json",
    );

    assert.equal(JSON.parse(restored.out).txid, txid);
  });

  test("leave a file that is there as it is, unless forced", async () => {
    const out = join(directory, "there.db");
    await writeFile(out, "precious");
    const refused = await pageferry("restore", "-o", out, archive);
    const skipped = await pageferry("restore", "-o", out, "--if-db-not-exists", archive);
    const before = await readFile(out, "utf8");
    const forced = await pageferry("restore", "-o", out, "--force", archive);

    assert.equal(refused.code, 5);
    assert.match(refused.err, /^error: .*there\.db/);
    assert.equal(skipped.code, 0);
    assert.equal(before, "precious");
    assert.equal(forced.code, 0);
  });

  test("say with --dry-run what would be fetched, and write nothing", async () => {
    const out = join(directory, "dry.db");
    const { code, out: said } = await pageferry("restore", "-o", out, "--dry-run", "--json", archive);

    const plan = JSON.parse(said);
    assert.equal(code, 0);
    assert.equal(
      plan.bytes,
      plan.objects.reduce((sum: number, { size }: { size: number }) => sum + size, 0),
    );
    await assert.rejects(stat(out), { code: "ENOENT" });
  });

  test("tell what is no replica, and which database is meant", async () => {
    const out = join(directory, "none.db");
    const above = await pageferry("restore", "-o", out, join(golden, "replica"));
    const wrong = await pageferry("restore", "-o", out, directory);
    const missing = await pageferry("restore", "-o", out, join(directory, "nowhere"));
    const allowed = await pageferry("restore", "-o", out, "--if-replica-exists", join(directory, "nowhere"));
    const file = await pageferry("points", join(golden, "README.md"));

    assert.deepEqual([above.code, wrong.code, missing.code, allowed.code, file.code], [2, 3, 3, 0, 3]);
    assert.match(above.err, /hint: Name one of them: .*replica\/data/);
    assert.match(wrong.err, /is not a replica/);
    await assert.rejects(stat(out), { code: "ENOENT" });
  });

  test("end with 4 and the problem for a file that is not sound", async () => {
    const out = join(directory, "broken.db");
    await pageferry("restore", "-o", out, archive);
    const bytes = await readFile(out);
    bytes.fill(0xff, 40 * 4096, 60 * 4096);
    await writeFile(out, bytes);
    const { code, out: said, err } = await pageferry("check", out);
    const text = await pageferry("check", join(golden, "README.md"));

    assert.equal(code, 4);
    assert.match(said, /NOT sound\n[\s\S]*problem {2}/);
    assert.match(err, /^error: .*broken\.db is not sound/);
    assert.equal(text.code, 4);
    assert.match(text.err, /^error: .*README\.md/);
  });
});
