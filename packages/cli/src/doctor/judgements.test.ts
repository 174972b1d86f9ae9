import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Finding, formatFindings } from "./finding.ts";
import { judgeClock } from "./host.ts";
import { judgePace, type Pace } from "./pace.ts";

const pace: Pace = {
  ...{ database: "app", hasFreelist: true, commitsPerSecond: 50, bytes: 2 ** 30, hasReflinks: false },
  ...{ maxReadRate: 2 ** 28, baseDeadlineMs: 600_000 },
};
const levels = (change: Partial<Pace>) => judgePace({ ...pace, ...change }).map(({ level }) => level);

suite("the pace of a database", () => {
  test("can be followed as fast as was measured, with a freelist also where it is large", () => {
    assert.deepEqual(levels({}), ["ok"]);
    assert.deepEqual(levels({ commitsPerSecond: 3000 }), ["ok"]);
    assert.deepEqual(levels({ commitsPerSecond: 0, hasFreelist: false }), ["ok"]);
    assert.deepEqual(levels({ commitsPerSecond: 100, hasFreelist: false }), ["ok"]);
    assert.deepEqual(levels({ commitsPerSecond: 2000, hasFreelist: false, bytes: 2 ** 25 }), ["ok"]);
  });

  test("is too fast for a first base without a freelist, unless it is small or can be cloned", () => {
    const fast = { hasFreelist: false, commitsPerSecond: 500 };
    const [finding] = judgePace({ ...pace, ...fast });

    assert.equal(finding?.level, "warn");
    assert.match(finding?.says ?? "", /500 commits a second on 1\.0 GiB without a freelist/);
    assert.match(finding?.todo ?? "", /reflinks.*NoFreelistSync.*observer/);
    assert.deepEqual(levels({ ...fast, hasReflinks: true }), ["ok"]);
  });

  test("is given as ranges beyond what can be followed one by one", () => {
    assert.deepEqual(levels({ commitsPerSecond: 5000 }), ["warn"]);
  });

  test("does not help a file that cannot be read by the deadline", () => {
    const [finding] = judgePace({ ...pace, bytes: 2 ** 40 });

    assert.match(finding?.says ?? "", /1h8m16s at maxReadRate, longer than baseDeadline/);
    assert.deepEqual(levels({ bytes: 2 ** 40, maxReadRate: 0 }), ["ok"]);
  });
});

suite("the clocks of two machines", () => {
  test("may differ by what a header cannot tell, and are told by how much", () => {
    assert.equal(judgeClock("host", 900).level, "ok");
    assert.match(judgeClock("host", 61_200).says, /is 1m1s behind the host/);
    assert.match(judgeClock("host", -61_200).says, /is 1m1s ahead of the host/);
    assert.deepEqual(
      [6000, 299_000, -301_000].map((skewMs) => judgeClock("host", skewMs).level),
      ["warn", "warn", "fail"],
    );
  });
});

suite("findings", () => {
  test("come with the worst first, and with what to do under each", () => {
    const findings: Finding[] = [
      { level: "ok", area: "queue", says: "it works" },
      { level: "fail", area: "configuration", subject: "x.yml", says: "it is not", todo: "Make it." },
    ];

    assert.equal(
      formatFindings(findings),
      "fail  configuration  x.yml: it is not\n                     -> Make it.\nok    queue          it works\n" +
        "1 of 2 findings fails, 0 warnings.\n",
    );
  });
});
