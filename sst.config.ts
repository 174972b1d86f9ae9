/// <reference path="./.sst/platform/config.d.ts" />

// This repository's own deployment, and the smallest one that shows everything. Teams use the published component instead:
// examples/aws.
export default $config({
  app(input) {
    return {
      name: "pageferry",
      home: "aws",
      providers: { aws: { region: "eu-central-1" } },
      // Buckets and queues are kept in every stage, whatever is said here.
      removal: input.stage === "production" ? "retain" : "remove",
      protect: input.stage === "production",
    };
  },
  async run() {
    const { Pageferry } = await import("./infra/pageferry.ts");
    const backup = new Pageferry("Backup", {
      databases: ["orders", "sessions"],
      replicas: {
        main: { type: "s3" },
        vault: { type: "s3", objectLock: { mode: "GOVERNANCE", days: 30 } },
      },
      agents: {
        web: { databases: ["orders", "sessions"], identity: { type: "instance-role" } },
        shop: { databases: ["orders"], identity: { type: "token" } },
      },
      handlers: "packages/functions/dist/lambda",
    });
    return {
      queue: backup.queue,
      api: backup.api,
      staging: backup.stageBucket,
      instanceProfile: backup.agents.web?.instanceProfile,
    };
  },
});
