import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig } from "@pageferry/format";
import { capturedIo } from "../testing/captured-io.ts";
import { openReplicaSource } from "./replica-source.ts";

const golden = new URL("../../../test/golden/replica/data", import.meta.url).pathname;

test("a configured replica that cannot be opened is left out with a warning", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-source-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await cp(golden, join(directory, "app"), { recursive: true });
  const wrong = "s3://backups/app?endpoint=https://127.0.0.1:1&insecure=true&accessKey=key&secretKey=secret";
  const databases = [{ name: "app", path: join(directory, "app.db") }];
  const io = capturedIo();

  await using source = await openReplicaSource(
    ["app"],
    io,
    parseConfig({ databases, replicas: [wrong, directory] }),
  );

  assert.ok((await source.points(io.signal)).length > 0);
  assert.match(io.said.err, /^warning: s3:\/\/backups\/app.* is left out: s3: .*\n$/);
});
