import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { checkRestoreInPlace, type ProfileHints, profileNames, profileOf } from "./profiles.ts";

const named = (name: string, more: Partial<ProfileHints> = {}) => profileOf({ name, ...more }).name;

suite("the profile of a database", () => {
  test("is that of one's own service where nothing tells another", () => {
    assert.equal(named("app"), "own");
    assert.equal(named("db", { path: "/srv/app/db" }), "own");
    assert.equal(named("meta", { path: "/srv/app/meta.db" }), "own");
    assert.equal(named("wallet", { path: "/srv/shop/wallet.db" }), "own");
  });

  test("is told by the name that its file gives it", () => {
    assert.equal(named("portainer"), "portainer");
    assert.equal(named("influxd"), "influxdb");
    assert.equal(named("channel"), "lnd");
    assert.equal(named("raft"), "raft");
    assert.equal(named("vault"), "vault");
  });

  test("is told by its path where the name says little", () => {
    assert.equal(named("db", { path: "/var/lib/etcd/member/snap/db" }), "etcd");
    assert.equal(
      named("meta", { path: "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db" }),
      "containerd",
    );
    assert.equal(named("wallet", { path: "/home/u/.lnd/data/chain/bitcoin/mainnet/wallet.db" }), "lnd");
    assert.equal(named("history", { path: "/var/lib/buildkit/runc-overlayfs/history.db" }), "buildkit");
  });

  test("is told by its buckets before name and path", () => {
    assert.equal(named("app", { buckets: ["open-chan-bucket", "x"] }), "lnd");
    assert.equal(named("app", { buckets: ["logs", "conf"] }), "raft");
    assert.equal(named("app", { buckets: ["logs"] }), "own");
    assert.equal(named("portainer", { buckets: ["data", "config"] }), "vault");
  });

  test("is what the operator says", () => {
    assert.equal(named("channel", { configured: "own", buckets: ["open-chan-bucket"] }), "own");
  });

  test("asks for a word exactly where an old file in place does harm", () => {
    const asked = profileNames.filter(
      (configured) => profileOf({ name: "app", configured }).acknowledgement !== undefined,
    );

    assert.deepEqual(asked, ["vault", "raft", "lnd", "containerd"]);
  });
});

suite("a restore in an application's place", () => {
  const restore = (configured: "own" | "etcd" | "raft" | "lnd", typed?: string, isAutomatic = false) =>
    checkRestoreInPlace(profileOf({ name: "app", configured }), {
      ...{ typed, isAutomatic, option: "--acknowledge" },
    });

  test("needs no words where an old file does no harm", () => {
    assert.doesNotThrow(() => restore("own"));
    assert.doesNotThrow(() => restore("etcd", undefined, true));
  });

  test("is refused without the words, which its hint says", () => {
    assert.throws(() => restore("raft"), { code: "harmful", hint: /--acknowledge "votes twice"/ });
    assert.throws(() => restore("raft", "votes"), { code: "harmful" });
    assert.doesNotThrow(() => restore("raft", " Votes twice"));
    assert.doesNotThrow(() => restore("raft", "votes twice", true));
    assert.doesNotThrow(() => restore("lnd", "loss of funds"));
  });

  test("is never done by itself for LND, whatever was typed", () => {
    assert.throws(() => restore("lnd", "loss of funds", true), { code: "harmful", hint: /channel\.backup/ });
  });
});
