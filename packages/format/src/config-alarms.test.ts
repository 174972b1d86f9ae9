import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "./config.ts";
import { isPageferryError } from "./errors.ts";

const alarmsOf = (alarms: unknown) => parseConfig({ alarms }).alarms;

function refusal(value: unknown): string {
  try {
    parseConfig(value);
  } catch (error) {
    assert.ok(isPageferryError(error, "bad-config"), String(error));
    return error.message;
  }
  assert.fail("it was taken");
}

suite("alarms in a configuration", () => {
  test("go to webhooks: URLs, or entries with a format and codes", () => {
    const { webhooks } = alarmsOf({
      webhooks: [
        "https://example.org/a",
        { url: "https://hooks.slack.com/x", format: "slack", codes: ["lag", "gap"] },
      ],
    });

    assert.deepEqual(webhooks, [
      { url: "https://example.org/a", format: "json" },
      { url: "https://hooks.slack.com/x", format: "slack", codes: ["lag", "gap"] },
    ]);
  });

  test("have a heartbeat for each database by a pattern, or of its own", () => {
    const config = parseConfig({
      databases: ["/srv/a.db", { path: "/srv/b.db", heartbeat: "https://hc.example/b" }],
      alarms: { heartbeat: "https://hc.example/key/{database}" },
    });

    assert.equal(config.alarms.heartbeat, "https://hc.example/key/{database}");
    assert.deepEqual(
      config.databases.map(({ heartbeat }) => heartbeat),
      [undefined, "https://hc.example/b"],
    );
  });

  test("may go to private addresses where the configuration says so: everywhere, or to some hosts", () => {
    assert.equal(alarmsOf(undefined).allowPrivate, false);
    assert.equal(alarmsOf({ allowPrivate: true }).allowPrivate, true);
    assert.deepEqual(alarmsOf({ allowPrivate: ["ntfy.lan"] }).allowPrivate, ["ntfy.lan"]);
  });

  test("are refused with the place and without the URL, which is a secret", () => {
    for (const [value, words] of [
      [{ alarms: { webhooks: ["hooks/T0SECRET"] } }, /alarms\.webhooks\[0\]/],
      [{ alarms: { webhooks: [{ url: "ftp://x/T0SECRET" }] } }, /alarms\.webhooks\[0\]\.url/],
      [
        { alarms: { webhooks: [{ url: "https://x/T0SECRET", format: "T0SECRET" }] } },
        /webhooks\[0\]\.format/,
      ],
      [{ alarms: { webhooks: [{ url: "https://x/T0SECRET", kind: 1 }] } }, /kind is not a known key/],
      [{ alarms: { heartbeat: "T0SECRET" } }, /alarms\.heartbeat/],
      [{ alarms: { heartbeat: "https://x/T0SECRET" } }, /\{database\} is missing/],
      [{ databases: [{ path: "a.db", heartbeat: "T0SECRET" }] }, /databases\[0\]\.heartbeat/],
      [{ alarms: { allowPrivate: "yes" } }, /true, false or a list of hosts/],
      [{ alarms: { webhook: [] } }, /the nearest is webhooks/],
    ] as const) {
      const message = refusal(value);
      assert.match(message, words);
      assert.doesNotMatch(message, /T0SECRET/);
    }
  });
});
