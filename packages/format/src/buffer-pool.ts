// Buffers of one size that are used again: a fresh one for every frame costs page faults and garbage collection.

/** Gives and takes back buffers. Whoever gives one back must not touch it again. */
export interface BufferPool {
  readonly bufferBytes: number;
  take(): Buffer;
  giveBack(buffer: Buffer): void;
}

/** Makes a pool, which holds as many buffers as were ever out at a time. */
export function createBufferPool(bufferBytes: number): BufferPool {
  const idle: Buffer[] = [];
  return {
    bufferBytes,
    take: () => idle.pop() ?? Buffer.allocUnsafeSlow(bufferBytes),
    giveBack(buffer) {
      idle.push(buffer);
    },
  };
}
