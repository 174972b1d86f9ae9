import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { fromS3, isLocked } from "./s3-errors.ts";

/** An error as the SDK makes it of a server's answer. */
function answer(status: number, name: string, message = name): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });
}

const networks = (code: string) => Object.assign(new Error(code), { code });

suite("an S3 server's word", () => {
  test("becomes the code that says what to do", () => {
    const cases: readonly (readonly [Error, string])[] = [
      [answer(404, "NoSuchKey"), "not-found"],
      [answer(404, "NotFound"), "not-found"],
      [answer(404, "NoSuchBucket"), "unavailable"],
      [answer(404, "NoSuchUpload"), "unavailable"],
      [answer(403, "AccessDenied"), "unauthorized"],
      [answer(403, "InvalidAccessKeyId"), "unauthorized"],
      [answer(404, "XAdminUserNotFound"), "unauthorized"],
      [answer(401, "Unknown"), "unauthorized"],
      [answer(400, "ExpiredToken"), "unauthorized"],
      [answer(403, "RequestTimeTooSkewed"), "unavailable"],
      [answer(403, "InvalidObjectState"), "unavailable"],
      [answer(429, "TooManyRequests"), "unavailable"],
      [answer(503, "SlowDown"), "unavailable"],
      [answer(500, "InternalError"), "unavailable"],
      [answer(400, "XAmzContentSHA256Mismatch"), "unavailable"],
      [answer(403, "QuotaExceeded"), "disk-full"],
      [answer(403, "AccessDenied", "Cannot upload files, storage cap exceeded"), "disk-full"],
      [answer(507, "XMinioStorageFull"), "disk-full"],
      [answer(507, "Unknown"), "disk-full"],
      [answer(400, "EntityTooLarge"), "too-large"],
      [answer(400, "KeyTooLongError"), "bad-name"],
      [answer(301, "PermanentRedirect"), "bad-config"],
      [answer(400, "AuthorizationHeaderMalformed"), "bad-config"],
      [new Error("Region is missing"), "bad-config"],
      [Object.assign(new Error("none"), { name: "CredentialsProviderError" }), "unauthorized"],
      [networks("ECONNREFUSED"), "unavailable"],
      [networks("ENOTFOUND"), "unavailable"],
      [networks("SELF_SIGNED_CERT_IN_CHAIN"), "unauthorized"],
      [networks("ERR_TLS_CERT_ALTNAME_INVALID"), "unauthorized"],
      [networks("CERT_HAS_EXPIRED"), "unauthorized"],
      [Object.assign(new Error("no answer"), { name: "TimeoutError" }), "unavailable"],
    ];

    for (const [error, code] of cases) {
      const ours = fromS3(error, "object a", "bucket");
      assert.ok(isPageferryError(ours), `${error.name} ${error.message}`);
      assert.equal(ours.code, code, `${error.name} ${error.message}`);
      assert.equal(ours.cause, error);
    }
  });

  test("about credentials is not repeated", () => {
    const error = fromS3(answer(403, "InvalidAccessKeyId", "no such key AKIASECRET"), "object a", "b");

    assert.doesNotMatch((error as Error).message, /AKIASECRET/);
  });

  test("is told apart from what nobody foresaw, and from what is ours already", () => {
    const bug = new TypeError("of undefined");
    const ours = new PageferryError("conflict", "other bytes");

    assert.equal(fromS3(bug, "object a", "b"), bug);
    assert.equal(fromS3(ours, "object a", "b"), ours);
    assert.equal(fromS3("text", "object a", "b"), "text");
  });

  test("is a lock in the words of each server", () => {
    assert.ok(
      isLocked(answer(403, "AccessDenied", "Access Denied because object protected by object lock."), "b"),
    );
    assert.ok(isLocked(answer(403, "ObjectLockedByBucketPolicy"), "b"));
    assert.ok(
      isLocked(answer(400, "InvalidRequest", "Object is WORM protected and cannot be overwritten"), "b"),
    );
    assert.ok(!isLocked(answer(403, "AccessDenied", "Access Denied."), "b"));
    assert.ok(!isLocked(answer(503, "SlowDown", "retention"), "b"));
  });

  test("is read without the names in it, which may hold any word", () => {
    const denied = [
      'User: arn:aws:iam::1:user/quota-x is not authorized to perform: s3:DeleteObject on resource: "arn:aws:s3:::db-retention/no space left"',
      "Access to db-retention denied.",
      "Access to db-retention.s3.example denied.",
      "Access to quota-x/0123/segments/object-lock denied.",
      "Access to quota-x%2Fretention denied.",
    ];
    for (const message of denied) {
      const error = answer(403, "AccessDenied", message.replace("/no space left", "/quota"));
      assert.ok(!isLocked(error, "db-retention"), message);
      assert.ok(isPageferryError(fromS3(error, "object a", "db-retention"), "unauthorized"), message);
    }
    const elsewhere = answer(403, "AccessDenied", "Access to quota-x denied.");
    assert.ok(isPageferryError(fromS3(elsewhere, "object a", "quota-x"), "unauthorized"));
    assert.ok(isLocked(answer(403, "AccessDenied", "db-retention: the retention period"), "db-retention"));
  });
});
