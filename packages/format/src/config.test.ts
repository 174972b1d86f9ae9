import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseConfig } from "./config.ts";
import { type ReplicaConfig, replicaLabel } from "./config-replica.ts";
import { isPageferryError } from "./errors.ts";

const hourMs = 3_600_000;

function messageOf(value: unknown, env: Record<string, string> = {}): string {
  try {
    parseConfig(value, { env, source: "pageferry.yml" });
  } catch (error) {
    assert.ok(isPageferryError(error, "bad-config"), String(error));
    return error.message;
  }
  assert.fail("it was taken");
}

suite("a configuration", () => {
  test("that says nothing has every default", () => {
    assert.deepEqual(parseConfig(undefined), {
      isGoForm: false,
      databases: [],
      directories: [],
      snapshotIntervalMs: 6 * hourMs,
      retention: {
        snapshotIntervalMs: 0,
        snapshotRetentionMs: 24 * hourMs,
        checkIntervalMs: hourMs,
        segmentRetentionMs: hourMs,
        keepWithinMs: 24 * hourMs,
        keepHourly: 0,
        keepDaily: 7,
        keepWeekly: 4,
        keepMonthly: 0,
        supersededRetentionMs: 7 * 24 * hourMs,
      },
      compaction: { levelsMs: [30_000, 300_000, hourMs] },
      verifyIntervalMs: 24 * hourMs,
      compression: { codec: "zstd", level: 0, window: 0 },
      replicas: [],
      restore: { enabled: false },
      dataLossWindowThresholdMs: 0,
      syncIntervalMs: 1000,
      granularity: "interval",
      listen: { host: "127.0.0.1" },
      packWindowMs: 0,
      queueRetentionMs: 14 * 24 * hourMs,
      shadowBytesMax: 2 ** 30,
      shadowPolicy: "squash",
      maxReadRate: 256 * 2 ** 20,
      baseDeadlineMs: 600_000,
      storageBytesMax: 0,
      inspect: false,
      alarms: { webhooks: [], allowPrivate: false },
    });
  });

  test("with the Go implementation's keys alone means what it means there", () => {
    const config = parseConfig({
      shadowDir: "/var/lib/app/stream",
      snapshotInterval: 21_600_000_000_000,
      retention: { snapshotInterval: "12h", snapshotRetention: "72h", checkInterval: "10m" },
      compression: { codec: "zstd", level: 9, window: 4 },
      replicas: [{ type: "file", path: "/backups" }],
      restore: { enabled: true, targetPath: "/data/app.db", tempDir: "/data" },
      dataLossWindowThreshold: "30s",
    });

    assert.equal(config.isGoForm, true);
    assert.equal(config.snapshotIntervalMs, 6 * hourMs);
    assert.deepEqual(config.retention, {
      snapshotIntervalMs: 12 * hourMs,
      snapshotRetentionMs: 72 * hourMs,
      checkIntervalMs: 600_000,
      segmentRetentionMs: 72 * hourMs,
      keepWithinMs: 72 * hourMs,
      keepHourly: 0,
      keepDaily: 0,
      keepWeekly: 0,
      keepMonthly: 0,
      supersededRetentionMs: 7 * 24 * hourMs,
    });
    assert.deepEqual(config.compression, { codec: "zstd", level: 9, window: 4 });
    assert.deepEqual(config.restore, { enabled: true, targetPath: "/data/app.db", tempDir: "/data" });
    assert.equal(config.dataLossWindowThresholdMs, 30_000);
  });

  test("of what stays says it in words that people know from restic, or in the Go implementation's", () => {
    const { retention } = parseConfig({
      retention: { keepWithin: "48h", segmentRetention: "2h", keepHourly: 12, keepMonthly: 6 },
    });
    assert.equal(retention.keepWithinMs, 48 * hourMs);
    assert.equal(retention.snapshotRetentionMs, 48 * hourMs);
    assert.equal(retention.segmentRetentionMs, 2 * hourMs);
    assert.deepEqual([retention.keepHourly, retention.keepDaily, retention.keepMonthly], [12, 7, 6]);

    const short = parseConfig({ snapshotInterval: "10m", retention: { snapshotRetention: "30m" } }).retention;
    assert.equal(short.keepWithinMs, hourMs / 2);
    assert.equal(short.segmentRetentionMs, hourMs / 2);
    assert.equal(parseConfig({ retention: { keepDaily: 3 } }).retention.segmentRetentionMs, hourMs);
  });

  test("of what stays may be shorter than any window of compaction, where nothing stays for longer", () => {
    const { retention } = parseConfig({ snapshotInterval: "5s", retention: { snapshotRetention: "20s" } });
    assert.deepEqual([retention.segmentRetentionMs, retention.keepWithinMs], [20_000, 20_000]);
  });

  test("of what stays takes none for an answer, and no fewer", () => {
    const counts = { keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 100_000 };
    const { retention } = parseConfig({ retention: { ...counts, supersededRetention: "0s" } });
    for (const [key, count] of Object.entries(counts))
      assert.equal(retention[key as keyof typeof counts], count);
    assert.equal(retention.supersededRetentionMs, 0);
    for (const key of Object.keys(counts)) {
      for (const count of [-1, 1.5, "7", 100_001])
        assert.match(messageOf({ retention: { [key]: count } }), new RegExp(`retention\\.${key}`));
    }
    for (const key of ["segmentRetention", "keepWithin", "supersededRetention"])
      assert.match(messageOf({ retention: { [key]: "-1h" } }), new RegExp(`retention\\.${key}: a duration`));
    assert.match(messageOf({ compaction: { levels: ["often"] } }), /compaction\.levels\[0\]: a duration/);
  });

  test("counts days where any of its keys is no key of the Go implementation", () => {
    const daysOf = (value: object) => parseConfig(value).retention.keepDaily;
    assert.equal(daysOf({ snapshotInterval: "6h", retention: { snapshotRetention: "48h" } }), 0);
    assert.equal(daysOf({ retention: { snapshotRetention: "48h", keepWeekly: 8 } }), 7);
    assert.equal(daysOf({ syncInterval: "1s", retention: { snapshotRetention: "48h" } }), 7);
  });

  test("switches compaction and verification off by a word", () => {
    for (const off of [false, "off"]) {
      const config = parseConfig({ compaction: off, verifyInterval: off });
      assert.deepEqual(config.compaction, { levelsMs: [] });
      assert.equal(config.verifyIntervalMs, 0);
    }
    assert.equal(parseConfig({ verifyInterval: 0 }).verifyIntervalMs, 0);
    const { compaction } = parseConfig({ compaction: { levels: ["1m", "10m"] } });
    assert.deepEqual(compaction, { levelsMs: [60_000, 600_000] });
  });

  test("takes a zero where Go has one as not said", () => {
    const config = parseConfig({
      snapshotInterval: 0,
      retention: { snapshotRetention: 0, checkInterval: 0 },
    });

    assert.equal(config.snapshotIntervalMs, 6 * hourMs);
    assert.equal(config.retention.snapshotRetentionMs, 24 * hourMs);
    assert.equal(config.retention.checkIntervalMs, hourMs);
  });

  test("names databases by their file's stem, and takes another name", () => {
    const { databases } = parseConfig({
      databases: ["data/app.db", "/srv/portainer.db", { path: "x/app.db", name: "app-2" }, "plain"],
    });

    assert.deepEqual(databases, [
      { name: "app", path: "data/app.db" },
      { name: "portainer", path: "/srv/portainer.db" },
      { name: "app-2", path: "x/app.db" },
      { name: "plain", path: "plain" },
    ]);
  });

  test("takes where an application writes its commits", () => {
    const databases = [{ path: "x.db", shadowDirectory: "/srv/stream" }];
    assert.deepEqual(parseConfig({ databases }).databases, [{ name: "x", ...databases[0] }]);
    assert.match(
      messageOf({ databases: [{ path: "x.db", shadowDir: "/s" }] }),
      /shadowDir is not a known key.*shadowDirectory/,
    );
  });

  test("has companion files by path and pattern, and no pattern for a whole tree", () => {
    const files = ["/srv/key", "certs/*.pem"];
    assert.deepEqual(parseConfig({ databases: [{ path: "x.db", files }] }).databases[0]?.files, files);
    for (const pattern of ["/srv/**/key", "/srv/", ""]) {
      assert.match(
        messageOf({ databases: [{ path: "x.db", files: [pattern] }] }),
        /databases\[0\]\.files\[0\]/,
      );
    }
    assert.equal(parseConfig({ restore: { files: true } }).restore.files, true);
  });

  test("asks for a name where the file's stem is none", () => {
    const [{ profile } = {}] = parseConfig({ databases: [{ path: "x.db", profile: "lnd" }] }).databases;
    assert.equal(profile, "lnd");
    assert.match(messageOf({ databases: [{ path: "x.db", profile: "ldn" }] }), /databases\[0\]\.profile/);
    assert.match(messageOf({ databases: ["my app.db"] }), /my app\.db needs a `name`/);
    assert.match(messageOf({ databases: [{ path: "a.db", name: "../a" }] }), /databases\[0\]\.name/);
  });

  test("takes each type of replica, as an entry and as a URL", () => {
    const written = [
      "file:///var/back%20ups",
      "./near",
      "s3://KEY:S%2FCRET@bucket/some/prefix?endpoint=http://127.0.0.1:9000&region=eu-1&insecure=true&forcePathStyle=true",
      "nats://me:pw@nats.example:4222/bucket/some/prefix?creds=/etc/n.creds&rootCAs=/etc/ca.pem",
      "sftp://me:pw@host.example:2222/backups/app?keyPath=/k&hostKey=ssh-ed25519",
      { type: "s3", bucket: "other" },
      { type: "nats", url: "nats://h", bucket: "b", nkey: "/n", rootCAs: ["/a", "/b"] },
      "tls://me:p%2Cw@one.example,two.example:4223/bucket?createBucket=true",
      { type: "sftp", host: "h", port: "23", user: "u", path: "/p", knownHosts: "/kh" },
    ];

    const { replicas } = parseConfig({ replicas: written });

    assert.deepEqual(replicas, [
      { type: "file", path: "/var/back ups" },
      { type: "file", path: "./near" },
      {
        type: "s3",
        endpoint: "http://127.0.0.1:9000",
        region: "eu-1",
        bucket: "bucket",
        prefix: "some/prefix",
        accessKey: "KEY",
        secretKey: "S/CRET",
        insecure: true,
        forcePathStyle: true,
        rootCAs: [],
      },
      {
        type: "nats",
        url: "nats://me:pw@nats.example:4222",
        bucket: "bucket",
        prefix: "some/prefix",
        creds: "/etc/n.creds",
        rootCAs: ["/etc/ca.pem"],
        createBucket: false,
      },
      {
        type: "sftp",
        host: "host.example",
        port: 2222,
        user: "me",
        password: "pw",
        keyPath: "/k",
        path: "/backups/app",
        hostKey: "ssh-ed25519",
      },
      { type: "s3", bucket: "other", prefix: "", insecure: false, rootCAs: [] },
      {
        type: "nats",
        url: "nats://h",
        bucket: "b",
        prefix: "",
        nkey: "/n",
        rootCAs: ["/a", "/b"],
        createBucket: false,
      },
      {
        type: "nats",
        url: "tls://me:p%2Cw@one.example,tls://two.example:4223",
        bucket: "bucket",
        prefix: "",
        rootCAs: [],
        createBucket: true,
      },
      { type: "sftp", host: "h", port: 23, user: "u", path: "/p", knownHosts: "/kh" },
    ]);
  });

  test("takes the parameters of Litestream's s3 URLs, in both their spellings", () => {
    const [replica] = parseConfig({
      replicas: [
        "s3://bucket/a?endpoint=minio.lan:9000&region=r&force-path-style=false&sign-payload=true&part-size=5MB" +
          "&access-key-id=K&secret-access-key=S&session-token=T&root-cas=/ca.pem&require-content-md5=true",
      ],
    }).replicas;

    assert.deepEqual(replica, {
      type: "s3",
      endpoint: "minio.lan:9000",
      region: "r",
      bucket: "bucket",
      prefix: "a",
      accessKey: "K",
      secretKey: "S",
      sessionToken: "T",
      insecure: false,
      forcePathStyle: false,
      rootCAs: ["/ca.pem"],
    });
    for (const word of ["skipVerify", "skip-verify"]) {
      assert.match(messageOf({ replicas: [`s3://bucket?${word}=true`] }), /always verified.*rootCAs/);
    }
    assert.match(messageOf({ replicas: ["s3://bucket?force-path-stile=true"] }), /is not a known key/);
  });

  test("takes an sftp URL with Litestream's parameters, and calls its replica by where it lies", () => {
    const parsed = [
      "sftp://me@[::1]:2222/~/bolt?key-path=/k&passphrase=p&host-key=SHA256:x&known-hosts=/kh&concurrent-writes=true",
      "sftp://me@h/srv/bolt",
    ].map((url) => parseConfig({ replicas: [url] }).replicas[0] as ReplicaConfig);
    const relative = { type: "sftp", host: "h", port: 22, user: "u", path: "bolt" } as const;

    assert.deepEqual(parsed[0], {
      type: "sftp",
      host: "::1",
      port: 2222,
      user: "me",
      keyPath: "/k",
      passphrase: "p",
      path: "/~/bolt",
      hostKey: "SHA256:x",
      knownHosts: "/kh",
    });
    assert.deepEqual([...parsed, relative].map(replicaLabel), [
      "sftp://[::1]:2222/~/bolt",
      "sftp://h:22/srv/bolt",
      "sftp://h:22/~/bolt",
    ]);
  });

  test("calls an s3 replica by a word without spaces and secrets, which tells two endpoints apart", () => {
    const labels = ["s3://K:S@b/p", "s3://K:S@b/p?endpoint=http://me:pw@minio.lan:9000"].map((url) =>
      replicaLabel(parseConfig({ replicas: [url] }).replicas[0] as ReplicaConfig),
    );

    assert.deepEqual(labels, ["s3://b/p", "s3://b/p?endpoint=http://minio.lan:9000"]);
  });

  test("shows no password in a replica's word, also where its / was not escaped", () => {
    const nats = {
      type: "nats",
      bucket: "b",
      prefix: "",
      rootCAs: [],
      createBucket: false,
    } satisfies Partial<ReplicaConfig>;
    const s3 = {
      type: "s3",
      bucket: "b",
      prefix: "",
      rootCAs: [],
      insecure: false,
    } satisfies Partial<ReplicaConfig>;

    assert.deepEqual(
      [
        replicaLabel({ ...nats, url: "nats://backup:77/s3cr3t@h:4222" }),
        replicaLabel({ ...nats, url: "backup:77/s3@cr3t@h:4222,nats://x:7/8@i" }),
        replicaLabel({ ...s3, endpoint: "https://u:pa/ss@h" }),
      ],
      ["nats://h:4222/b", "h:4222,i/b", "s3://b?endpoint=https://h"],
    );
  });

  test("takes listen and queue in their short forms", () => {
    assert.deepEqual(parseConfig({ listen: ":80" }).listen, { host: "127.0.0.1", port: 80 });
    assert.deepEqual(parseConfig({ listen: 80 }).listen, { host: "127.0.0.1", port: 80 });
    assert.deepEqual(parseConfig({ listen: "0.0.0.0:80" }).listen, { host: "0.0.0.0", port: 80 });
    assert.deepEqual(parseConfig({ listen: "[::1]:80" }).listen, { host: "::1", port: 80 });
    assert.deepEqual(parseConfig({ queue: "https://host:7373" }).queue, { url: "https://host:7373" });
    assert.match(messageOf({ queue: "ftp://host" }), /queue\.url: an http/);
  });

  test("fills in variables, their defaults, and leaves $${ alone", () => {
    const config = parseConfig(
      { shadowDir: "${BASE}/x", token: "${T:-se:-cret}", dataDir: "$${BASE}", listen: { port: "${PORT}" } },
      { env: { BASE: "/b", PORT: "81" } },
    );

    assert.equal(config.shadowDir, "/b/x");
    assert.equal(config.token, "se:-cret");
    assert.equal(config.dataDir, "${BASE}");
    assert.equal(config.listen.port, 81);
  });

  test("treats a key without a value as not written", () => {
    const written = { queue: null, token: null, listen: { port: null } };

    assert.deepEqual(parseConfig(written), parseConfig({}));
  });
});

suite("a mistake in a configuration", () => {
  test("names the path and the nearest known key", () => {
    const cases: readonly [unknown, RegExp][] = [
      [
        { snapshotIntervall: "6h" },
        /snapshotIntervall is not a known key; the nearest is snapshotInterval\b/,
      ],
      [
        { snapshot_interval: "6h" },
        /snapshot_interval is not a known key; the nearest is snapshotInterval\b/,
      ],
      [{ snapshotRetention: "6h" }, /the nearest is retention\.snapshotRetention/],
      [
        { replicas: [{ type: "s3", bucket: "b", bukcet: "b" }] },
        /replicas\[0\]: bukcet .* nearest is bucket/,
      ],
      [{ retention: { keepWeakly: 1 } }, /retention: keepWeakly .* nearest is keepWeekly/],
      [{ zzzzzzzzz: 1 }, /known are databases, /],
      [{ replicas: [{ type: "s3" }] }, /replicas\[0\]\.bucket: is missing/],
      [{ replicas: [{ type: "ftp", path: "x" }] }, /replicas\[0\]\.type/],
      [{ replicas: ["ftp://x"] }, /replicas\[0\]: neither/],
      [{ replicas: ["file://relative/x"] }, /replicas\[0\]: a file:\/\/ URL holds an absolute path/],
      [{ replicas: ["file:///mnt/backup#1/bolt"] }, /replicas\[0\]: a # begins a fragment.*%23/],
      [{ replicas: ["s3://b/p#q"] }, /a # begins a fragment/],
      [{ replicas: ["file:///mnt/100%"] }, /replicas\[0\]: a % .*%25/],
      [{ replicas: ["s3://b/p%zz"] }, /replicas\[0\]: a % /],
      [{ replicas: [{ type: "s3", bucket: "b", endpoint: "h/x@i" }] }, /replicas\[0\]\.endpoint: an @ .*%2F/],
      [{ syncInterval: "soon" }, /syncInterval: a duration .* \(it is "soon"\)/],
      [{ shadowBytesMax: "1 parsec" }, /shadowBytesMax: a number of bytes/],
      [{ compression: "lz4" }, /compression: "zstd", "none" or/],
      [{ listen: { port: 65_536 } }, /listen\.port: a port/],
      [[], /expected object/],
      ["databases", /expected object/],
    ];
    for (const [value, expected] of cases) assert.match(messageOf(value), expected, JSON.stringify(value));
  });

  test("is told with all the others at once", () => {
    assert.match(
      messageOf({ foo: 1, granularity: "week", baseDeadline: "x" }),
      /foo.*|granularity.*;.*baseDeadline/,
    );
  });

  test("in a variable says which is not set, and where", () => {
    assert.match(
      messageOf({ replicas: [{ type: "file", path: "${NOWHERE}" }] }),
      /replicas\[0\]\.path: .* NOWHERE/,
    );
  });

  test("of two keys that contradict each other names both", () => {
    const cases: readonly [unknown, RegExp][] = [
      [
        { snapshotInterval: "6h", retention: { snapshotRetention: "1h" } },
        /snapshotRetention \(1h\).*snapshotInterval \(6h\)/,
      ],
      [
        { retention: { snapshotInterval: "48h", snapshotRetention: "30h" } },
        /retention\.snapshotInterval \(48h\)/,
      ],
      [
        { retention: { keepWithin: "48h", snapshotRetention: "30h" } },
        /keepWithin \(48h\) and retention\.snapshotRetention \(30h\) are two words/,
      ],
      [
        { retention: { keepWithin: "1h" } },
        /snapshotRetention \(1h\) is shorter than snapshotInterval \(6h\)/,
      ],
      [{ retention: { segmentRetention: "25h" } }, /shorter than retention\.segmentRetention \(25h\)/],
      [{ retention: { segmentRetention: "10s" } }, /segmentRetention \(10s\).*compaction\.levels \(30s\)/],
      [{ compaction: { levels: ["5m", "30s"] } }, /levels: 30s is not longer than 5m/],
      [{ compaction: { levels: ["30s", "45s"] } }, /levels: 45s is not a multiple of 30s/],
      [{ compaction: { levels: ["0s", "45s"] } }, /levels begins with less than 1ms/],
      [{ compaction: { levels: ["1s", "2s", "4s", "8s", "16s", "32s"] } }, /holds 6 levels: at most 5/],
      [{ syncInterval: "7h" }, /syncInterval \(7h\) is longer/],
      [{ dataLossWindowThreshold: "500ms" }, /dataLossWindowThreshold \(500ms\)/],
      [{ queue: "http://h", replicas: ["/b"] }, /replicas belong to the side that serves/],
      [{ databases: ["a.db", "b.db"], restore: { enabled: true, targetPath: "/x" } }, /restore\.targetPath/],
      [{ databases: ["x/app.db", "y/app.db"] }, /two databases are named app/],
      [
        { databases: ["x", "y"].map((path) => ({ path, shadowDirectory: "/s" })) },
        /the shadowDirectory \/s is listed twice/,
      ],
      [{ databases: [{ path: "x", shadowDirectory: "/s" }], shadowDir: "/s" }, /cannot be the same/],
      [{ databases: ["x/app.db", { path: "x/app.db", name: "b" }] }, /x\/app\.db is listed twice/],
      [{ replicas: ["/b", "file:///b"] }, /file:\/\/\/b is listed twice/],
    ];
    for (const [value, expected] of cases) assert.match(messageOf(value), expected, JSON.stringify(value));
  });

  test("never repeats a secret, wherever the mistake is", () => {
    const secret = "hunter2-Zq";
    const variable = "${SECRET}";
    const wrong: readonly unknown[] = [
      { token: { nested: secret } },
      { token: [secret], syncInterval: variable },
      { queue: `ftp://user:${secret}@host` },
      { queue: { url: `ftp://${secret}`, token: secret } },
      { replicas: [`ftp://user:${secret}@host/path`] },
      { replicas: [`s3://key:${secret}@bucket/path?regoin=x`] },
      { replicas: [`s3://key:${secret}@bucket/p`, `s3://key:${secret}@bucket/p`] },
      { replicas: [`nats://me:${secret}@h/b`, `nats://me:${secret}@h/b`] },
      {
        replicas: Array(2).fill({
          type: "nats",
          url: `nats://a:x,${secret}@h,nats://b:${secret}@i`,
          bucket: "b",
        }),
      },
      { replicas: [`sftp://me:${secret}%@h/b`] },
      { replicas: [`s3://key:${secret}%zz@bucket/p`] },
      { replicas: [`s3://key:77/${secret}@bucket/p`] },
      { replicas: [`nats://me:${secret}%@h/b`] },
      { replicas: [`nats://me:%@one:4222,two:4222/${secret}`] },
      { replicas: [{ type: "nats", url: `nats://me:${secret}%@h`, bucket: "b" }] },
      { replicas: [{ type: "nats", url: `nats://me:77/${secret}@h:4222`, bucket: "b" }] },
      { replicas: [{ type: "s3", endpoint: `https://u:7/${secret}@h`, bucket: "b" }] },
      { replicas: [`s3://bucket?endpoint=https://u:7/${secret}@h`] },
      { replicas: [`sftp://me:${secret}@h/b`, `sftp://me:${secret}@h/b`] },
      { replicas: [{ type: "sftp", host: 1, password: secret, path: 5 }] },
      { replicas: [`sftp://me@h/b?passphrase=${secret}&regoin=x`] },
      { replicas: [{ type: "sftp", passphrase: { nested: secret } }] },
      { replicas: [{ type: secret }], compression: variable, granularity: variable, baseDeadline: variable },
      { databases: [{ path: 1, name: variable }], listen: { port: variable }, maxReadRate: variable },
    ];
    for (const value of wrong) {
      const message = messageOf(value, { SECRET: secret });
      assert.ok(!message.includes(secret) || JSON.stringify(value).includes(`"type":"${secret}"`), message);
    }
  });

  test("of any shape is a coded error and nothing else", () => {
    const keys = [
      "databases",
      "replicas",
      "retention",
      "restore",
      "listen",
      "queue",
      "compression",
      "type",
      "path",
    ];
    const shape = fc.object({ key: fc.constantFrom(...keys, "__proto__", "constructor"), maxDepth: 4 });
    fc.assert(
      fc.property(fc.oneof(shape, fc.anything()), (value) => {
        try {
          parseConfig(value);
        } catch (error) {
          assert.ok(isPageferryError(error, "bad-config"), String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
