// Progress bars, for people at a terminal. The only file that knows cli-progress.

import type { Queue } from "@pageferry/agent";
import { Presets, SingleBar } from "cli-progress";
import type { Io } from "./io.ts";

/** One bar. Without a terminal it draws nothing. */
export interface Progress extends Disposable {
  /** Bytes done, and of how many; the total may grow. */
  update(done: number, total: number): void;
}

const mebibyte = 2 ** 20;

/** A bar that measures bytes, labelled `label`; nothing where nobody watches or `json` is asked for. */
export function createProgress(io: Io, label: string, options: { readonly json: boolean }): Progress {
  if (!io.isTerminal || options.json) return { update() {}, [Symbol.dispose]() {} };
  const bar = new SingleBar(
    {
      format: `${label} {bar} {percentage}% | {value}/{total} MiB | {eta_formatted}`,
      hideCursor: true,
      clearOnComplete: true,
      fps: 8,
    },
    Presets.shades_classic,
  );
  let isStarted = false;
  return {
    update(done, total) {
      const [value, end] = [done, total].map((bytes) => Math.round((bytes / mebibyte) * 10) / 10) as [
        number,
        number,
      ];
      if (!isStarted) bar.start(end, value);
      isStarted = true;
      bar.setTotal(end);
      bar.update(value);
    },
    [Symbol.dispose]() {
      if (isStarted) bar.stop();
    },
  };
}

/** The same queue, with a bar for each large body, a snapshot most often, that an agent hands to it. */
export function withStageProgress(queue: Queue, io: Io): Queue {
  if (!io.isTerminal) return queue;
  return {
    ...queue,
    async stage(database, body, options) {
      using progress = createProgress(io, `snapshot of ${database}`, { json: false });
      const open = async function* (): AsyncGenerator<Uint8Array> {
        let done = 0;
        for await (const chunk of body.open()) {
          progress.update(done, body.size);
          done += chunk.length;
          yield chunk;
        }
        progress.update(done, body.size);
      };
      await queue.stage(database, { ...body, open }, options);
    },
  };
}
