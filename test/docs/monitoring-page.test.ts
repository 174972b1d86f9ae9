import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { localHost } from "@pageferry/functions";
import { parse } from "yaml";

const docs = join(import.meta.dirname, "../../docs");
const readDoc = (name: string) => readFile(join(docs, name), "utf8");

/** Names in an expression of PromQL, without what Prometheus makes of a histogram. */
const metricsIn = (expression: string): string[] =>
  [...expression.matchAll(/\bpageferry_[a-z_]+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ""));

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly description: string };
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

/** What a host shows, by name, with its type and help. */
async function shownMetrics(): Promise<Map<string, string>> {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-monitoring-"));
  const host = await localHost({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
  try {
    const answer = await fetch(`${host.url}/metrics`, { headers: { authorization: `Bearer ${host.token}` } });
    const types = [...(await answer.text()).matchAll(/^# TYPE (\S+) (\S+)$/gm)];
    return new Map(
      types.map(([, name = "", type = ""]) => [type === "counter" ? `${name}_total` : name, type]),
    );
  } finally {
    await host.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

suite("what docs say of metrics", () => {
  const isShown = (name: string) => shown.has(name) || shown.has(`${name}_count`);
  let shown = new Map<string, string>();
  before(async () => {
    shown = await shownMetrics();
  });

  test("docs/monitoring.md has a row for every metric, with its type, and no other", async () => {
    const rows = (await readDoc("monitoring.md")).matchAll(/^\| `(pageferry_[a-z_]+)` \| (\w+) \|/gm);

    const documented = new Map([...rows].map(([, name = "", type = ""]) => [name, type]));

    assert.deepEqual([...documented].sort(), [...shown].sort());
  });

  test("alerts.yml holds rules that say what to do, over metrics that there are", async () => {
    const { groups } = parse(await readDoc("monitoring/alerts.yml")) as {
      groups: readonly { readonly rules: readonly Rule[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);

    assert.ok(rules.length > 5);
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
    for (const { alert, expr, annotations } of rules) {
      assert.ok(annotations.summary.length > 0 && annotations.description.length > 0, alert);
      assert.deepEqual(
        metricsIn(expr).filter((name) => !isShown(name)),
        [],
        alert,
      );
    }
  });

  test("grafana-dashboard.json holds panels over metrics that there are", async () => {
    const dashboard = JSON.parse(await readDoc("monitoring/grafana-dashboard.json")) as {
      readonly panels: readonly Panel[];
      readonly templating: { readonly list: readonly { readonly query: string }[] };
    };
    const { panels, templating } = dashboard;

    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const expressions = [
      ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...templating.list.map(({ query }) => query),
    ];
    const used = expressions.flatMap(metricsIn);
    assert.deepEqual(
      used.filter((name) => !isShown(name)),
      [],
    );
    for (const word of ["lag_seconds", "txid", "queue_depth", "dead_letters", "alarms", "operation_total"])
      assert.ok(
        used.some((name) => name.endsWith(word)),
        word,
      );
  });
});
