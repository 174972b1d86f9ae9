// What the doctor finds out about real servers: that they do all a backup needs, and in what they differ.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { suite, test } from "node:test";
import { probeStore } from "@pageferry/functions";
import { natsStore } from "@pageferry/functions/stores/nats";
import { s3Store } from "@pageferry/functions/stores/s3";
import { sftpStore } from "@pageferry/functions/stores/sftp";
import { s3Answer, startHttpProxy } from "../servers/http-proxy.ts";
import { natsMissing, startNats } from "../servers/nats.ts";
import { startS3, withoutS3Server } from "../servers/s3.ts";
import { type SshdOptions, startSshd, withoutSshd } from "../servers/sshd.ts";

const random = () => ({ random: randomBytes(16) });

suite("the probe of an SFTP server", { skip: withoutSshd() }, () => {
  const probe = async (options: SshdOptions = {}) => {
    await using sshd = await startSshd(options);
    const { host, port, user, keyPath, hostKey } = sshd;
    await using store = sftpStore({
      host,
      port,
      user,
      keyPath,
      hostKey,
      path: join(sshd.directory, "store"),
    });
    return await probeStore(store, random());
  };

  test("finds nothing odd in OpenSSH's", async () => {
    const { failed, steps, differences } = await probe();

    assert.deepEqual([failed, steps.length, differences], [undefined, 7, []]);
  });

  test("names what another lacks: fsync, and hard links", async () => {
    const { failed, differences } = await probe({ sftp: "-P fsync,hardlink" });

    assert.equal(failed, undefined);
    assert.match(differences.map(({ what }) => what).join("\n"), /fsync@openssh\.com.*\n.*no hard links/);
  });
});

suite("the probe of a NATS server", { skip: natsMissing }, () => {
  test("tells that one copy is acknowledged before it is on a disk", async () => {
    await using server = await startNats();
    await using store = natsStore({ url: server.url, bucket: "probe", createBucket: true });

    const { failed, differences } = await probeStore(store, random());

    assert.equal(failed, undefined);
    assert.deepEqual(
      differences.map(({ what }) => /one copy/.test(what)),
      [true],
    );
  });
});

suite("the probe of an S3 server", { skip: withoutS3Server }, () => {
  test("finds nothing odd where writes are refused by condition, and names a server that knows none", async () => {
    await using server = await startS3();
    await using proxy = await startHttpProxy(server.endpoint);
    const entry = server.entry(await server.makeBucket());
    await using direct = s3Store(entry);
    await using behind = s3Store({ ...entry, endpoint: proxy.endpoint });
    proxy.rule = ({ headers }) =>
      headers["if-none-match"] === undefined ? undefined : { answer: s3Answer(501, "NotImplemented") };

    const plain = await probeStore(direct, random());
    const odd = await probeStore(behind, random());

    assert.deepEqual([plain.failed, plain.differences], [undefined, []]);
    assert.equal(odd.failed, undefined);
    assert.match(odd.differences.map(({ what }) => what).join(), /no If-None-Match/);
  });

  test("tells how far a clock is off, and that deleted objects stay as versions", async (t) => {
    await using server = await startS3();
    await using store = s3Store(server.entry(await server.makeBucket({ versioned: true })));
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 5 * 3_600_000 });

    const { failed, differences } = await probeStore(store, random());

    assert.equal(failed, undefined);
    const [clock, versions] = differences.map(({ what }) => what);
    assert.match(clock ?? "", /^the server's clock is 1\d{4} s behind/);
    assert.match(versions ?? "", /older version/);
  });
});
