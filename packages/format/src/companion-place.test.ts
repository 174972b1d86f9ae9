import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { companionName, companionPath, fitsPart, fitsPattern, whyNoPattern } from "./companion-place.ts";

suite("a companion file's name", () => {
  test("is relative to the database's directory, and leads back from another one", () => {
    assert.equal(companionName("/data/tls/cert.pem", "/data"), "tls/cert.pem");
    assert.equal(companionPath("tls/cert.pem", "/srv/new"), "/srv/new/tls/cert.pem");
  });

  test("of a file elsewhere lies below _root, and leads back to where it was", () => {
    for (const path of ["/etc/app/key", "/data/../other/key", "/"]) {
      if (path === "/") assert.throws(() => companionName(path, "/data"), { code: "bad-name" });
      else assert.match(companionName(path, "/data"), /^_root\/[^.]/);
    }
    assert.equal(companionName("/etc/app/key", "/data"), "_root/etc/app/key");
    assert.equal(companionPath("_root/etc/app/key", "/srv/new"), "/etc/app/key");
  });

  test("of a directory beside the database that is called _root is not mistaken for the root", () => {
    assert.equal(companionName("/data/_root", "/data"), "_root/data/_root");
    const name = companionName("/data/_root/etc/key", "/data");

    assert.equal(name, "_root/data/_root/etc/key");
    assert.equal(companionPath(name, "/data"), "/data/_root/etc/key");
  });

  test("that leads out is refused", () => {
    for (const name of ["../x", "/etc/passwd", "a/../../x", "_root/../x", ""]) {
      assert.throws(() => companionPath(name, "/data"), { code: "bad-name" });
    }
  });
});

suite("a pattern", () => {
  test("stands for names of one directory, and for hidden ones only where it says so", () => {
    assert.ok(fitsPattern("/data/tls/*.pem", "/data/tls/a.pem"));
    assert.ok(fitsPattern("/data/*/key", "/data/x/key"));
    assert.ok(fitsPattern("/data/a?c", "/data/abc"));
    assert.ok(fitsPattern("/data/.*", "/data/.env"));
    for (const path of ["/data/tls/a.pem.bak", "/data/tls/.a.pem", "/data/tls/x/a.pem", "/data/a.pem"]) {
      assert.ok(!fitsPattern("/data/tls/*.pem", path), path);
    }
    assert.ok(!fitsPattern("/data/a.c", "/data/abc"));
    for (const [part, name] of [
      ["*a*b*", "xxaxxabxx"],
      ["*ab", "aab"],
      ["a*", "a"],
      ["?*", "é"],
      ["*é?", "aaé🙂"],
    ] as const) {
      assert.ok(fitsPart(part, name), part);
    }
    for (const [part, name] of [
      ["*ab", "abc"],
      ["a*a", "a"],
      ["?", "ab"],
      ["??", "🙂"],
      ["*.pem", "a.pem.bak"],
    ] as const) {
      assert.ok(!fitsPart(part, name), part);
    }
  });

  test("takes no longer for a name that almost fits it in many ways", () => {
    const beginMs = performance.now();

    assert.ok(!fitsPart(`${"*a".repeat(100)}b`, "a".repeat(255)));

    assert.ok(performance.now() - beginMs < 1000);
  });

  test("that could mean a whole tree, or is none, is refused", () => {
    assert.equal(whyNoPattern("/data/*.pem"), undefined);
    for (const pattern of ["", "/data/", "/data/**/x", "a\\b", "a\0"]) {
      assert.notEqual(whyNoPattern(pattern), undefined, pattern);
    }
  });
});
