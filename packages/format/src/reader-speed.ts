// How fast a reader has been: a few numbers that follow what was seen last. Pure; reader-ranking.ts decides by it.

/** What one read showed. */
export interface ReadSample {
  /** Until the first byte, milliseconds. */
  readonly latencyMs: number;
  /** From then on, only while waiting for bytes, milliseconds. */
  readonly transferMs: number;
  readonly bytes: number;
}

/** What is known of a reader. */
export interface ReaderSpeed {
  readonly latencyMs: number;
  /** Bytes per millisecond; undefined until a read was large enough to tell. */
  readonly bytesPerMs: number | undefined;
}

/** How much the newest sample counts: five or six reads later an old one is forgotten, and one slow read is no verdict. */
const newestShare = 0.3;

/** A smaller read comes with the first packet, and says nothing of the throughput. */
const throughputBytesMin = 64 * 1024;

/** Assumed until it is known: 10 MB/s, a line that nobody is proud of. */
const bytesPerMsAssumed = 10_000;

/** What is known after one more read. */
export function afterRead(speed: ReaderSpeed | undefined, sample: ReadSample): ReaderSpeed {
  const isTelling = sample.bytes >= throughputBytesMin;
  const seen = isTelling ? sample.bytes / Math.max(sample.transferMs, 1) : undefined;
  return {
    latencyMs: mixed(speed?.latencyMs, sample.latencyMs),
    bytesPerMs: seen === undefined ? speed?.bytesPerMs : mixed(speed?.bytesPerMs, seen),
  };
}

function mixed(before: number | undefined, seen: number): number {
  return before === undefined ? seen : before + (seen - before) * newestShare;
}

/** How long a read of so many bytes will take, milliseconds. */
export function expectedMs(speed: ReaderSpeed, bytes: number): number {
  return speed.latencyMs + bytes / (speed.bytesPerMs ?? bytesPerMsAssumed);
}
