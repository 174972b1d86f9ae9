// The long form of full-disk.test.ts, run by hand as root: `node -C @pageferry/source test/proofs/full-disk.ts [FILE SYSTEM…]`. Each of ext4, xfs and
// btrfs in a loop-mounted image of which some MB are free, with both policies, filled by the shadow and by others. Prints one JSON line per
// run; ends with 1 if something was lost, or is wrong.
import { appendFile, mkdir, statfs, truncate } from "node:fs/promises";
import { runFullDisk } from "../full-disk-run.ts";
import { runProcess } from "../processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";

const mebibyte = 2 ** 20;

/** The smallest images that can be formatted. */
const imageBytes: Readonly<Record<string, number>> = {
  ext4: 16 * mebibyte,
  xfs: 320 * mebibyte,
  btrfs: 128 * mebibyte,
};

/** What is left to the shadow. */
const roomBytes = 8 * mebibyte;

async function run(command: string, ...args: readonly string[]): Promise<void> {
  const { code, stderr } = await runProcess(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

async function mounted(
  type: string,
  directory: TemporaryDirectory,
): Promise<AsyncDisposable & { path: string }> {
  const [image, path] = [directory.file("image"), directory.file("disk")];
  await mkdir(path);
  await appendFile(image, "");
  await truncate(image, imageBytes[type] ?? 0);
  await run(`mkfs.${type}`, "-q", image);
  await run("mount", "-o", "loop", image, path);
  const { bavail, bsize } = await statfs(path);
  for (let left = bavail * bsize - roomBytes; left > 0; left -= mebibyte)
    await appendFile(`${path}/ballast`, Buffer.alloc(Math.min(left, mebibyte), 1));
  return { path, [Symbol.asyncDispose]: () => run("umount", "-l", path) };
}

for (const type of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(imageBytes)) {
  for (const policy of ["stop", "squash"] as const) {
    for (const fills of ["shadow", "others"] as const) {
      await using directory = await temporaryDirectory();
      await using disk = await mounted(type, directory);
      const report = await runFullDisk({ policy, fills, disk: disk.path, judged: 20 });
      const { doctor: _, status: __, output: ___, ...figures } = report;
      console.log(JSON.stringify({ type, policy, fills, ...figures }));
      if (report.lost.length > 0 || report.bad.length > 0 || report.generations !== 1) process.exitCode = 1;
    }
  }
}
