import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { fingerprintOf, type HostKeyOptions, hostKeyJudge } from "./sftp-host-key.ts";

/** A public key as a server shows it: its type with its length, and what no test looks into. */
function keyOf(type: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), randomBytes(40)]);
}

const line = (hosts: string, key: Buffer, marker = ""): string =>
  `${marker}${hosts} ${key.toString("latin1", 4, 4 + key.readUInt32BE(0))} ${key.toString("base64")} comment\n`;

const server = { host: "backup.example", port: 22 };
const [ed25519, other, rsa] = [keyOf("ssh-ed25519"), keyOf("ssh-ed25519"), keyOf("ssh-rsa")];

/** What becomes of a key under these known_hosts: `undefined`, or the code of the refusal. */
async function verdict(t: TestContext, lines: string, key: Buffer, options: HostKeyOptions = server) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-known-hosts-"));
  t.after(() => rm(directory, { recursive: true }));
  const knownHosts = join(directory, "known_hosts");
  await writeFile(knownHosts, lines);
  const judge = await hostKeyJudge({ ...options, knownHosts });
  return { refusal: judge.judge(key), offers: judge.offers };
}

suite("a key of known_hosts", () => {
  test("is trusted under its host's name, whatever its case, and under patterns", async (t) => {
    for (const hosts of [
      "backup.example",
      "BACKUP.example",
      "other,backup.example",
      "*.example",
      "b?ckup.*",
    ]) {
      assert.equal((await verdict(t, line(hosts, ed25519), ed25519)).refusal, undefined, hosts);
    }
    for (const hosts of ["backup", "*.example,!backup.example", "backupxexample", "[backup.example]:2222"]) {
      assert.equal((await verdict(t, line(hosts, ed25519), ed25519)).refusal?.code, "unauthorized", hosts);
    }
  });

  test("is trusted under the salted hash of the name", async (t) => {
    const hashed = (name: string) => {
      const salt = randomBytes(20);
      const hash = createHmac("sha1", salt).update(name).digest("base64");
      return `|1|${salt.toString("base64")}|${hash}`;
    };

    assert.equal((await verdict(t, line(hashed("backup.example"), ed25519), ed25519)).refusal, undefined);
    const elsewhere = await verdict(t, line(hashed("other.example"), ed25519), ed25519);
    assert.equal(elsewhere.refusal?.code, "unauthorized");
  });

  test("is trusted on another port under [host]:port, or under the host alone", async (t) => {
    const options = { host: "::1", port: 2222 };

    assert.equal((await verdict(t, line("[::1]:2222", ed25519), ed25519, options)).refusal, undefined);
    assert.equal((await verdict(t, line("::1", ed25519), ed25519, options)).refusal, undefined);
    const changed = await verdict(t, line("[::1]:2222", other), ed25519, options);
    assert.match(changed.refusal?.message ?? "", /is not what .*known_hosts expects: SHA256:/);
    const unknown = await verdict(t, line("::1", other), ed25519, options);
    assert.match(unknown.refusal?.message ?? "", /is not known; .* set hostKey: "SHA256:/);
  });

  test("that is revoked is refused, also where another line trusts it; an authority's is none", async (t) => {
    const lines =
      line("*", ed25519, "@revoked ") +
      line("backup.example", ed25519) +
      line("*", other, "@cert-authority ");

    const { refusal } = await verdict(t, lines, ed25519);

    assert.match(refusal?.message ?? "", /is revoked/);
    assert.equal((await verdict(t, lines, other)).refusal?.code, "unauthorized");
    assert.equal((await verdict(t, lines + line("backup.example", rsa), rsa)).refusal, undefined);
  });

  test("is asked for first, of whatever kind it is", async (t) => {
    const { offers } = await verdict(t, line("backup.example", rsa), rsa);

    assert.deepEqual(offers[0]?.slice(0, 4), ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa", "ssh-ed25519"]);
    assert.equal(offers.length, 1);
  });

  test("in a file of odd lines is found, and the rest does no harm", async (t) => {
    const odd = `# comment\n\n   \nbackup.example\nbackup.example ssh-ed25519\n@revoked\n|1|x ${"A".repeat(5000)}\n`;

    assert.equal((await verdict(t, odd + line("backup.example", ed25519), ed25519)).refusal, undefined);
    assert.equal((await verdict(t, odd, Buffer.from([0, 0]))).refusal?.code, "unauthorized");
  });

  test("of a file that is not there is unauthorized, and says which file", async () => {
    await assert.rejects(hostKeyJudge({ ...server, knownHosts: "/none/known_hosts" }), (error: Error) => {
      assert.match(error.message, /\/none\/known_hosts: ENOENT/);
      return (error as Error & { code?: string }).code === "unauthorized";
    });
  });
});

suite("a host key of the configuration", () => {
  test("is a fingerprint, a public key, or several of them", async () => {
    const publicKey = `ssh-rsa ${rsa.toString("base64")} root@server`;
    for (const hostKey of [
      fingerprintOf(rsa),
      `${fingerprintOf(rsa)}=`,
      publicKey,
      `${fingerprintOf(other)}, ${publicKey}`,
    ]) {
      const judge = await hostKeyJudge({ ...server, hostKey });
      assert.equal(judge.judge(rsa), undefined, hostKey);
      assert.equal(judge.judge(ed25519)?.code, "unauthorized", hostKey);
    }
  });

  test("may come from a URL's query, where a plus became a space", async () => {
    const keys = Array.from({ length: 500 }, () => keyOf("ssh-ed25519"));
    const key = keys.find((candidate) => /\+.*\+/.test(fingerprintOf(candidate))) ?? ed25519;

    const judge = await hostKeyJudge({ ...server, hostKey: fingerprintOf(key).replaceAll("+", " ") });

    assert.equal(judge.judge(key), undefined);
  });

  test("that is a public key is asked for first; of a fingerprint every kind is tried", async () => {
    const whole = await hostKeyJudge({ ...server, hostKey: `ssh-rsa ${rsa.toString("base64")}` });
    const lone = await hostKeyJudge({ ...server, hostKey: fingerprintOf(rsa) });

    assert.deepEqual(
      whole.offers.map((offer) => offer[0]),
      ["rsa-sha2-512"],
    );
    assert.deepEqual(
      lone.offers.map((offer) => offer[0]),
      ["ssh-ed25519", "ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"],
    );
  });

  test("that is neither is a mistake in the configuration", async () => {
    for (const hostKey of [
      "",
      "yes",
      "SHA256:short",
      "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
      `ssh-ed25519 ${rsa.toString("base64")}`,
      `${fingerprintOf(rsa)},`,
    ]) {
      await assert.rejects(hostKeyJudge({ ...server, hostKey }), { code: "bad-config" }, hostKey);
    }
  });
});
