#!/usr/bin/env node
// The door of the command. It asks for Node 24 before anything newer is parsed, so it holds no import and no new syntax.

const major = Number(process.versions.node.split(".")[0]);

if (major < 24) {
  console.error(`error: pageferry needs Node 24 or newer, and this is Node ${process.versions.node}`);
  console.error(
    "hint: Install Node 24 (https://nodejs.org), or run pageferry with `npx -p node@24 pageferry`.",
  );
  process.exitCode = 1;
} else {
  // Before anything large is loaded: what loading needs for a moment would stay.
  import("./small-heap.ts")
    .then((heap) => {
      heap.keepHeapSmall();
      return import("./main.ts");
    })
    .then((command) => command.main())
    .catch((error) => {
      console.error(error);
      process.exitCode = 1;
    });
}

export {};
