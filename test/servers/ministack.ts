// ministack: S3 (and more of AWS) in memory, by other hands than versitygw: what both take is more likely to be S3.

import { dirname, join } from "node:path";
import { startProcess } from "../processes.ts";
import { freePort } from "../temporary.ts";
import { type S3Admin, s3Admin } from "./s3.ts";
import { type Server, serverHome, skippedWithout, startServer } from "./server.ts";

const packages = join(serverHome("ministack"), "packages");
const program = join(packages, "bin", "ministack");

/** Why the tests that need ministack are skipped; false where they run. */
export const withoutMinistack = skippedWithout(program);

/** Starts ministack on a free port. What it holds is gone when it is killed. */
export async function startMinistack(): Promise<Server & S3Admin> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const server = await startServer({
    port,
    start: () =>
      startProcess("python3", [program], {
        env: {
          ...{ PYTHONPATH: packages, BIND_HOST: "127.0.0.1", GATEWAY_PORT: String(port) },
          // Its functions run in the `node` that it finds.
          PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ""}`,
        },
      }),
    isReady: async () => (await fetch(`${endpoint}/_ministack/health`)).ok,
  });
  const admin = s3Admin({ endpoint, keys: { accessKey: "test", secretKey: "test" }, rootCAs: [] });
  return {
    ...server,
    ...admin,
    async [Symbol.asyncDispose]() {
      admin.client.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}
