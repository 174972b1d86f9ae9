// Memory for the pages of a delta: few large pieces, so that they can be handed to another thread as they are.

/** Keeps copies of bytes. */
export interface Arena {
  /** A copy that stays until `clear`. */
  copy(bytes: Uint8Array): Uint8Array<ArrayBuffer>;
  /** Takes all memory back, but for what was handed to another thread meanwhile. Keeps a piece. */
  clear(): void;
  /** As `clear`, and keeps nothing. */
  release(): void;
}

/** One piece: large enough that even a great delta has few, small enough to be kept by every busy database. */
export const arenaPieceBytes = 256 * 1024;

/** Makes an empty arena. */
export function createArena(): Arena {
  let piece = new Uint8Array(0);
  let used = 0;
  return {
    copy(bytes) {
      if (used + bytes.length > piece.length) {
        piece = new Uint8Array(Math.max(arenaPieceBytes, bytes.length));
        used = 0;
      }
      const copy = piece.subarray(used, used + bytes.length);
      copy.set(bytes);
      used += bytes.length;
      return copy;
    },
    clear() {
      // A piece that was handed over has no length any more.
      if (piece.buffer.detached || piece.length > arenaPieceBytes) piece = new Uint8Array(0);
      used = 0;
    },
    release() {
      piece = new Uint8Array(0);
      used = 0;
    },
  };
}
