// What is refused while the program is evaluated, before anything is made: contradictions, what AWS would refuse later, code that is not there.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { evaluate } from "./evaluate.ts";

describe("a deployment is refused", { concurrency: 2 }, () => {
  it("with every contradiction in one message", async () => {
    const config = join(import.meta.dirname, "apps", "mistakes", "sst.config.ts");
    const { message } = await refusalOf(evaluate({ config }));
    assert.deepEqual(
      message
        .replace(/^(Error: )?Pageferry Backup: /, "")
        .split("; replicas")
        .join("\nreplicas")
        .split("\n"),
      [
        'databases: "../etc" is not a name: letters, digits, . _ -, 64 at most; databases: orders is named twice',
        "replicas.disk: a file replica is refused: the disk of a function is gone when it ends; use s3, nats or sftp",
        "replicas.nas: sftp://192.168.1.5:22/srv is in a private network: give the deployment its vpc",
        "replicas.nas: ${NOBODY} is none of the secrets",
        "replicas.cloud: its host is written out; only user, password and keys come from secrets",
        "replicas.cloud: ${NATS_URL} is none of the secrets",
        "replicas.named: objectLock is for a bucket that is made here; theirs is there",
        "replicas.other: another service takes accessKey and secretKey",
        "replicas.a-b: is not 1 to 20 letters and digits",
        "replicas: s3://theirs is declared twice; agents.web: unknown is none of the databases; concurrency.lane: 1 is less than 2",
      ],
    );
  });

  it("when its environment is more than AWS takes, with what to do", async () => {
    const token = {
      version: 1,
      id: "0123456789ab",
      sha256: "0".repeat(64),
      scopes: ["ingest"],
      databases: "*",
    };
    const tokens = JSON.stringify(Array.from({ length: 30 }, () => ({ ...token, createdAtMs: 1 })));
    const { message } = await refusalOf(evaluate({ secrets: { BackupTokens: tokens }, standIns: true }));
    assert.match(
      message,
      /Pageferry BackupApi: its environment is \d+ bytes, and AWS takes 4096: fewer tokens/,
    );
  });

  it("without a secret that a replica names", async () => {
    const config = join(import.meta.dirname, "apps", "everything", "sst.config.ts");
    const { message } = await refusalOf(evaluate({ config, standIns: true }));
    assert.match(message, /Set a value for \w+ with `sst secret set/);
  });

  it("without the bundle of a handler, with the command that builds it", async () => {
    const mutation = { file: "sst.config.ts", from: "functions/dist/lambda", to: "functions/dist/nowhere" };
    const { message } = await refusalOf(evaluate({ mutations: [mutation] }));
    assert.match(message, /there is no \S+nowhere\/api\/handler\.mjs.*npm run build:lambda/);
  });

  it("when a bundle does not export its handler", async () => {
    const mutation = { file: "infra/handlers.ts", from: '"handler.handler"', to: '"handler.main"' };
    const { message } = await refusalOf(evaluate({ mutations: [mutation], standIns: true }));
    assert.match(message, /handler\.mjs does not export main/);
  });

  it("when its configuration imports at the top, as the sst command does", async () => {
    const mutation = {
      ...{ file: "sst.config.ts", from: "export default $config(" },
      to: 'import "./infra/replicas.ts";\nexport default $config(',
    };
    const { message } = await refusalOf(evaluate({ mutations: [mutation] }));
    assert.match(message, /imports \.\/infra\/replicas\.ts at its top/);
  });
});

async function refusalOf(evaluation: Promise<unknown>): Promise<Error> {
  try {
    await evaluation;
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  throw new Error("nothing was refused");
}
