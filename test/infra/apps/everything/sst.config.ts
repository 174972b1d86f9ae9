/// <reference path="../../../../.sst/platform/config.d.ts" />

// Every choice that a deployment has, taken at once: what the repository's own leaves out.
export default $config({
  app: () => ({ name: "everything", home: "aws", providers: { aws: { region: "eu-central-1" } } }),
  async run() {
    const { Pageferry } = await import("../../../../infra/pageferry.ts");
    const backup = new Pageferry("Vault", {
      databases: ["orders", "sessions.v2", "audit"],
      replicas: {
        old: { type: "s3", bucket: "team-backups", prefix: "bolt/eu", region: "eu-west-1" },
        other: {
          ...{ type: "s3", endpoint: "https://s3.example.com:9000", bucket: "copies", forcePathStyle: true },
          ...{ accessKey: "${OTHER_KEY}", secretKey: "${OTHER_SECRET}" },
        },
        nats: {
          ...{ type: "nats", bucket: "bolt", prefix: "eu" },
          url: "tls://${NATS_USER}:${NATS_PASSWORD}@nats1.internal:4222,nats2.internal:4222",
        },
        nas: {
          ...{
            type: "sftp",
            host: "10.1.2.3",
            user: "backup",
            password: "${NAS_PASSWORD}",
            path: "srv/bolt",
          },
          hostKey: "SHA256:0000000000000000000000000000000000000000000",
        },
      },
      secrets: {
        OTHER_KEY: new sst.Secret("OtherKey"),
        OTHER_SECRET: new sst.Secret("OtherSecret"),
        NATS_USER: new sst.Secret("NatsUser"),
        NATS_PASSWORD: new sst.Secret("NatsPassword"),
        NAS_PASSWORD: new sst.Secret("NasPassword"),
      },
      agents: {
        instance: { databases: ["orders"], identity: { type: "instance-role" } },
        task: { databases: ["orders"], identity: { type: "existing-role", role: "shop-task" } },
        rack: {
          databases: ["sessions.v2"],
          identity: {
            type: "roles-anywhere",
            trustAnchor: "arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/0f1e",
            commonName: "rack.example.com",
          },
        },
        ci: {
          databases: ["audit"],
          identity: {
            type: "oidc",
            provider: "arn:aws:iam::111122223333:oidc-provider/token.example.com",
            audience: "sts.amazonaws.com",
            subject: "host:ci",
          },
        },
        far: { databases: ["audit"], identity: { type: "token" } },
        legacy: { databases: ["orders", "audit"], identity: { type: "static-key" } },
      },
      settings: { granularity: "transaction", retention: { keepDaily: 14 } },
      schedules: { prune: "cron(0 3 * * ? *)", repair: false },
      concurrency: { fanOut: 4, lane: 3, api: false },
      vpc: { privateSubnets: ["subnet-1"], securityGroups: ["sg-1"] },
      domain: {
        name: "backup.example.com",
        dns: false,
        cert: "arn:aws:acm:us-east-1:111122223333:certificate/c",
      },
      alarmTopic: "arn:aws:sns:eu-central-1:111122223333:on-call",
      deleteWithStage: true,
      handlers: "packages/functions/dist/lambda",
    });
    return { agents: backup.agents, buckets: backup.replicaBuckets };
  },
});
