import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { temporary } from "../../testing/agent-bench.ts";
import { createImagePlaces } from "./image-places.ts";

suite("places for images", () => {
  test("are taken until an image is removed, by whomever", async () => {
    await using directory = await temporary();
    const places = createImagePlaces(() => 0, 2);
    const paths = ["a", "b"].map((name) => join(directory.path, name));
    for (const path of paths) {
      assert.ok(places.hasRoom());
      writeFileSync(path, "");
      places.began(path);
    }

    assert.ok(!places.hasRoom());
    rmSync(paths[0] as string);
    assert.ok(places.hasRoom());
  });

  test("are not held for ever by an image that is never done", async () => {
    await using directory = await temporary();
    let nowMs = 0;
    const places = createImagePlaces(() => nowMs, 1);
    const path = join(directory.path, "busy");
    writeFileSync(path, "");
    places.began(path);

    assert.ok(!places.hasRoom());
    nowMs = 11 * 60_000;
    assert.ok(places.hasRoom());
  });
});
