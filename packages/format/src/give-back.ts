// Memory that is given back before the collector comes for it.

/** Smaller memory may be Node's own pool, which others share. */
const ownMemoryMin = 128 * 1024;

/**
 * Gives the memory of a buffer that is needed no more back at once. Left to the collector, a gigabyte of pages costs a collection for
 * every 64 MB, and twice that in memory. Only for buffers that nobody else can hold: all views of the memory are empty afterwards.
 */
export function giveBack(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= ownMemoryMin) buffer.transfer(0);
}
