import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { fromAws, fromFailedEntry } from "./aws-errors.ts";

/** An error as the SDK makes it of a server's answer. */
function answer(status: number, name: string, message = name): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });
}

const networks = (code: string) => Object.assign(new Error(code), { code });

suite("the word of SQS or S3", () => {
  const cases: readonly (readonly [Error, string])[] = [
    [answer(400, "QueueDoesNotExist"), "unavailable"],
    [answer(400, "AWS.SimpleQueueService.NonExistentQueue"), "unavailable"],
    [answer(404, "NoSuchBucket"), "unavailable"],
    [answer(400, "RequestThrottled"), "unavailable"],
    [answer(400, "ThrottlingException"), "unavailable"],
    [answer(400, "KmsThrottled"), "unavailable"],
    [answer(503, "SlowDown"), "unavailable"],
    [answer(400, "RequestTimeout"), "unavailable"],
    [answer(409, "ConditionalRequestConflict"), "unavailable"],
    [answer(500, "InternalFailure"), "unavailable"],
    [answer(200, "SyntaxError", "Unexpected token <"), "unavailable"],
    [answer(403, "RequestTimeTooSkewed"), "unavailable"],
    [answer(403, "InvalidSignatureException", "Signature expired: 1 is now earlier than 2"), "unavailable"],
    [answer(400, "AccessDeniedException"), "unauthorized"],
    [answer(400, "com.amazonaws.sqs#AccessDenied"), "unauthorized"],
    [answer(403, "AccessDenied"), "unauthorized"],
    [answer(403, "InvalidClientTokenId"), "unauthorized"],
    [answer(403, "SignatureDoesNotMatch"), "unauthorized"],
    [answer(403, "ExpiredToken"), "unauthorized"],
    [answer(400, "KmsAccessDenied"), "unauthorized"],
    [answer(400, "KmsDisabled"), "unauthorized"],
    [answer(401, "Unknown"), "unauthorized"],
    [answer(400, "BadDigest"), "corrupt"],
    [answer(400, "BatchRequestTooLong"), "too-large"],
    [answer(400, "EntityTooLarge"), "too-large"],
    [answer(301, "PermanentRedirect"), "bad-config"],
    [answer(400, "AuthorizationHeaderMalformed"), "bad-config"],
    [answer(404, "InvalidAddress"), "bad-config"],
    [answer(400, "InvalidMessageContents"), "bad-request"],
    [Object.assign(new Error("none"), { name: "CredentialsProviderError" }), "unauthorized"],
    [new Error("Region is missing"), "bad-config"],
    [networks("ECONNREFUSED"), "unavailable"],
    [networks("SELF_SIGNED_CERT_IN_CHAIN"), "unauthorized"],
    [Object.assign(new Error("no answer"), { name: "TimeoutError" }), "unavailable"],
  ];

  for (const [error, code] of cases) {
    test(`is ${code}: ${error.name} ${error.message}`, () => {
      const ours = fromAws(error, "queue");
      assert.ok(isPageferryError(ours, code as "corrupt"), String(ours));
      assert.equal(ours.cause, error);
    });
  }

  test("about credentials is not repeated", () => {
    const error = fromAws(answer(403, "InvalidClientTokenId", "no such key AKIASECRET"), "queue");
    const entry = { code: "AccessDenied", message: "of AKIASECRET", isOurFault: true };

    assert.doesNotMatch((error as Error).message, /AKIASECRET/);
    assert.doesNotMatch(fromFailedEntry(entry, "queue").message, /AKIASECRET/);
  });

  test("is told apart from what nobody foresaw, and from what is ours already", () => {
    const bug = new TypeError("of undefined");
    const ours = new PageferryError("conflict", "other bytes");

    assert.equal(fromAws(bug, "queue"), bug);
    assert.equal(fromAws(ours, "queue"), ours);
  });

  test("about one message of a batch says whose fault it is", () => {
    const code = (word: string, isOurFault: boolean) =>
      fromFailedEntry({ code: word, message: "", isOurFault }, "queue").code;

    assert.equal(code("InternalError", false), "unavailable");
    assert.equal(code("KMS.ThrottlingException", true), "unavailable");
    assert.equal(code("KMS.AccessDeniedException", true), "unauthorized");
    assert.equal(code("InvalidMessageContents", true), "bad-request");
  });
});
