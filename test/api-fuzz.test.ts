// The API against a fuzzer that knows its document: no 5xx, nothing that the document does not tell, and a host that works afterwards.
// PAGEFERRY_FUZZ=10000 runs at least so many cases.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { runWriter } from "./go-apps.ts";
import { type Host, pageferryOk, startUp } from "./pageferry.ts";
import { runProcess } from "./processes.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const setup = new URL("setup", import.meta.url).pathname;
const schemathesis = new URL(".cache/schemathesis/bin/schemathesis", import.meta.url).pathname;

const casesMin = Number(process.env.PAGEFERRY_FUZZ ?? "100");
const isLong = casesMin > 1000;

/** Each round has another seed, and as much time as is bearable in one go. */
const roundSeconds = isLong ? 240 : 25;

const roundsMax = isLong ? 60 : 1;

interface Round {
  readonly cases: number;
  readonly code: number | null;
  readonly said: string;
}

async function fuzz(host: Host, token: string, seed: number, directory: string): Promise<Round> {
  const args = [
    ...["--config-file", `${setup}/schemathesis.toml`, "run", `${host.url}/openapi.json`, "--no-color"],
    ...["--header", `Authorization: Bearer ${token}`, "--continue-on-failure"],
    ...["--max-examples", isLong ? "60" : "8", "--max-time", String(roundSeconds), "--seed", String(seed)],
    ...["--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "60"],
  ];
  const { code, stdout, stderr } = await runProcess(schemathesis, args, {
    // It leaves what it learned where it is run.
    cwd: directory,
    env: { PYTHONPATH: setup, PYTHONDONTWRITEBYTECODE: "1" },
    timeoutMs: (roundSeconds + 120) * 1000,
  });
  return { cases: Number(/(\d+) generated/.exec(stdout)?.[1] ?? 0), code, said: `${stdout}${stderr}` };
}

suite("the API under a fuzzer", () => {
  test("answers as its document says, whatever it is asked, and goes on working", async (t) => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 30 });
    await using host = await startUp([path], {
      dataDir: directory.file("data"),
      args: ["--sync-interval", "50ms"],
    });
    await until("a first object", async () => (await newestStored(host.replica("app"))) > 0);
    const token = await host.token();

    let cases = 0;
    for (let seed = 1; cases < casesMin && seed <= roundsMax; seed += 1) {
      const round = await fuzz(host, token, seed, directory.path);
      assert.equal(round.code, 0, `seed ${seed}: ${round.said.slice(0, 20_000)}`);
      cases += round.cases;
    }

    t.diagnostic(`${cases} cases`);
    assert.ok(cases >= casesMin, `${cases} cases`);
    assert.equal(host.isRunning(), true);
    assert.doesNotMatch(host.output(), /unexpected/);
    await runWriter({ path, count: 5, seed: 2 });
    const last = await newestTxId(path);
    await until("it still works", async () => (await newestStored(host.replica("app"))) === last);
    assert.match(await pageferryOk(["status", "--data", host.dataDir]), /app/);
  });
});
