import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { capturedIo } from "../testing/captured-io.ts";
import { reportFailure } from "./failure.ts";
import { tellAlarm, tellOver } from "./log.ts";

const hostile = "/srv/x\u001b[2J\nalarm: lag: all is lost\u2028.db: it is gone";
const harmless = "/srv/x?[2J?alarm: lag: all is lost?.db: it is gone";

suite("what is said on standard error", () => {
  test("is one line for each thing, whatever files are called", () => {
    const io = capturedIo();

    tellAlarm(io, { code: "not-found", message: hostile, hint: "Look.", database: "app" });
    tellOver(io, { code: "not-found", message: hostile, database: "app" });

    assert.equal(
      io.said.err,
      `alarm: not-found: app: ${harmless}\nhint: Look.\nover: not-found: app: ${harmless}\n`,
    );
  });

  test("of a failure, too", () => {
    const io = capturedIo();

    reportFailure(new Error(hostile), io, { json: false });

    assert.match(io.said.err, /^error: unexpected: [ -~]+\nhint: [ -~]+\n$/);
  });
});
