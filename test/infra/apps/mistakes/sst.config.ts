/// <reference path="../../../../.sst/platform/config.d.ts" />

// Everything wrong at once: one error names it all, before anything is made.
export default $config({
  app: () => ({ name: "mistakes", home: "aws" }),
  async run() {
    const { Pageferry } = await import("../../../../infra/pageferry.ts");
    new Pageferry("Backup", {
      databases: ["orders", "orders", "../etc"],
      replicas: {
        // @ts-expect-error: the types refuse it, too.
        disk: { type: "file", path: "/mnt/backup" },
        nas: {
          type: "sftp",
          host: "192.168.1.5",
          user: "u",
          password: "${NOBODY}",
          path: "/srv",
          hostKey: "k",
        },
        cloud: { type: "nats", url: "${NATS_URL}", bucket: "b" },
        named: { type: "s3", bucket: "theirs", objectLock: { mode: "GOVERNANCE", days: 1 } },
        again: { type: "s3", bucket: "theirs" },
        other: { type: "s3", endpoint: "https://s3.example.com", bucket: "b" },
        "a-b": { type: "s3" },
      },
      agents: { web: { databases: ["unknown"], identity: { type: "token" } } },
      concurrency: { lane: 1 },
    });
  },
});
