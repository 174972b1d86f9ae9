// The clock of a soak is wrong where it is meant to be, or a soak proves nothing about clocks.
import { test } from "node:test";
import { startProcess } from "../processes.ts";
import { temporaryDirectory } from "../temporary.ts";
import { steppedClock } from "./clock.ts";

const hourMs = 3_600_000;

const program = `
const { Worker } = require("node:worker_threads");
const tell = 'setInterval(() => console.log(name, Date.now(), new Date().getTime(), new Date(7).getTime()), 50)';
new Worker('const name = "worker"; ' + tell, { eval: true });
eval('const name = "main"; ' + tell);
`;

test("a clock is stepped in all threads of a running program", async () => {
  await using directory = await temporaryDirectory();
  const clock = steppedClock(directory.file("clock"));
  await using child = startProcess(process.execPath, ["-e", program], { env: clock.env });
  const isOffBy = (name: string, offsetMs: number) => (line: string) => {
    const [who, now, made, given] = line.split(" ");
    const isOff = [now, made].every((ms) => Math.abs(Number(ms) - Date.now() - offsetMs) < hourMs / 2);
    return who === name && isOff && given === "7";
  };
  for (const offsetMs of [0, hourMs, -2 * hourMs]) {
    await clock.step(offsetMs);
    for (const name of ["main", "worker"]) await child.line(isOffBy(name, offsetMs), 10_000);
  }
});
