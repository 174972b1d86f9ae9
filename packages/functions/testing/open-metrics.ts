// A strict reader of OpenMetrics text, as far as hosts write it: every sample belongs to a family that was announced, is there
// once, and the text ends where it says.

import assert from "node:assert/strict";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface OpenMetrics {
  /** By family: its type. */
  readonly types: ReadonlyMap<string, string>;
  readonly samples: readonly Sample[];
  /** The value of the one sample of this name and these labels, among others. */
  sampleOf(name: string, labels?: Readonly<Record<string, string>>): number | undefined;
}

/** What a sample's name may have behind its family's. */
const suffixes: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total"],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
};

export function parseOpenMetrics(text: string): OpenMetrics {
  const lines = text.split("\n");
  assert.deepEqual(lines.slice(-2), ["# EOF", ""], "it ends with # EOF");
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const line of lines.slice(0, -2)) {
    const [, word, family, rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (word === "TYPE" && family !== undefined) {
      assert.ok(rest in suffixes && !types.has(family), line);
      types.set(family, rest);
    } else if (word === "HELP" && family !== undefined) {
      assert.ok(!helped.has(family), line);
      helped.add(family);
    } else {
      const sample = parseSample(line);
      const known = [...types].some(([name, type]) =>
        suffixes[type]?.some((end) => name + end === sample.name),
      );
      assert.ok(known, `${sample.name} belongs to a family`);
      assert.ok(!seen.has(line.slice(0, line.lastIndexOf(" "))), `${line} is there once`);
      seen.add(line.slice(0, line.lastIndexOf(" ")));
      samples.push(sample);
    }
  }
  assert.deepEqual([...helped].sort(), [...types.keys()].sort(), "each has a help");
  const sampleOf: OpenMetrics["sampleOf"] = (name, labels = {}) =>
    samples.find(
      (one) =>
        one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value),
    )?.value;
  return { types, samples, sampleOf };
}

function parseSample(line: string): Sample {
  const [, name, , inside = "", value] =
    /^([a-z][a-z0-9_]*)(\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$/.exec(line) ?? [];
  assert.ok(name !== undefined && value !== undefined, `${JSON.stringify(line)} is a sample`);
  const labels = Object.fromEntries(
    [...inside.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = "", text = ""]) => [
      label,
      text.replace(/\\(.)/g, (_, one: string) => (one === "n" ? "\n" : one)),
    ]),
  );
  assert.ok(value === "+Inf" || Number.isFinite(Number(value)), line);
  return { name, labels, value: Number(value.replace("+Inf", "Infinity")) };
}
