/// <reference path="./.sst/platform/config.d.ts" />

export default $config({
  app(input) {
    return {
      name: "backup",
      home: "aws",
      providers: { aws: { region: "eu-central-1" } },
      removal: input.stage === "production" ? "retain" : "remove",
      protect: input.stage === "production",
    };
  },
  async run() {
    const { Pageferry } = await import("@pageferry/sst");
    const backup = new Pageferry("Backup", {
      databases: ["orders"],
      replicas: { main: { type: "s3" } },
      agents: { web: { databases: ["orders"], identity: { type: "instance-role" } } },
    });
    return {
      queue: backup.queue,
      staging: $interpolate`s3://${backup.stageBucket}`,
      api: backup.api,
      instanceProfile: backup.agents.web?.instanceProfile,
    };
  },
});
