// Every bound of the format, each with its reason. Exceeding one is the error `too-large`, or `corrupt` in structure.

/** Go's CBOR decoder refuses larger arrays and maps, so a segment above this many frames could not be read there. */
export const cborElementsMax = 131_072;

/** Go's CBOR decoder refuses deeper nesting; ours needs five levels. */
export const cborDepthMax = 32;

/** All items of one CBOR document: the most frames a segment may have, seven items each, and room for the rest. */
export const cborItemsMax = 1_048_576;

/** A header is some hundred bytes; attributes are ours and short. A larger one is not a header. */
export const headerBytesMax = 64 * 1024;

/** Frames of one segment: what Go's reader takes. Above it a snapshot is cheaper. */
export const segmentFramesMax = 131_072;

/** The decoded payload of one segment, which is held in memory: above it the agent cuts a snapshot instead. */
export const segmentRawBytesMax = 512 * 1024 * 1024;

/** A segment object as stored. zstd grows incompressible input by less than one percent. */
export const segmentBytesMax = segmentRawBytesMax + 8 * 1024 * 1024;

/** A payload above this is written as many frames with an index, so that one page is a ranged read. */
export const largePayloadBytes = 8 * 1024 * 1024;

/** Input bytes of one frame of a seekable payload: small enough for ranged reads, 5 % larger than one frame in all. */
export const seekFrameBytes = 1024 * 1024;

/** A frame up to this decoded size is decompressed in one piece on another thread; a larger one is streamed. */
export const wholeFrameBytesMax = 4 * 1024 * 1024;

/** Frames of one seekable payload: 4 TiB of database at 1 MiB each. Guards the memory of a hostile seek table. */
export const seekFramesMax = 4 * 1024 * 1024;

/** zstd's own default bound (128 MiB of window); every level of both implementations stays below it. */
export const zstdWindowLogMax = 27;

/** A snapshot's decoded length: bolt files are bounded by their page ids, and 2^48 is above any disk we know. */
export const snapshotRawBytesMax = 2 ** 48;

/** Largest page id we handle: page ids are u32 on our side, the largest value means "none" in tables. */
export const pageIdMax = 2 ** 32 - 2;

/** bolt page sizes are the operating system's: powers of two up to 64 KiB; below 512 no page would hold a key. */
export const pageSizeMin = 512;
/** See `pageSizeMin`. */
export const pageSizeMax = 64 * 1024;

/** Segments of one pack: at one a second and a 20 s window it holds twenty; a backlog is cut into several. */
export const packSegmentsMax = 16_384;

/** A pack object: what a replica gets in one put. One larger segment goes as an object of its own. */
export const packBytesMax = 64 * 1024 * 1024;

/** SQS takes 1 MiB of text: base64 adds a third, and the attributes need room. Larger goes by pointer. */
export const inlineBytesMax = 700 * 1024;

/** The most that SQS takes in one request, bodies and attributes of all its messages. */
export const sqsBytesMax = 1_048_576;

/** A body staged in a bucket: the largest that was tried. Functions copy it piece by piece; what was not tried is refused. */
export const bucketStagedBytesMax = 8_000_000_000;

/** Items of one envelope. */
export const envelopeItemsMax = 4096;

/** An envelope over HTTP: many inline items, each up to `inlineBytesMax`, in one request. */
export const envelopeBytesMax = 32 * 1024 * 1024;

/** Heartbeats of one request: a thousand idle databases are two. */
export const heartbeatsMax = 1000;

/** These, each with a host's name of 255 bytes. */
export const heartbeatsBytesMax = 1024 * 1024;

/** S3 keys, the narrowest of our stores, hold 1,024 bytes. */
export const nameBytesMax = 1024;

/** A stamp has 12 hex digits in names, and must be a time that an RFC 3339 year of four digits can hold. */
export const stampMsMax = 253_402_300_799_999;

/** `_state.json` and `needs.json`: derived lists. Above it they are ignored, the listing is the truth. */
export const jsonBytesMax = 64 * 1024 * 1024;

/** A companion file: certificates, keys and settings are far smaller, and what is larger is data that changes in parts. */
export const companionBytesMax = 1024 * 1024;

/** Companion files of one version. Each is looked at every few seconds. */
export const companionsMax = 256;

/** All companion files of one version together: they are read into memory, on both sides. */
export const companionSetBytesMax = 8 * 1024 * 1024;

/** A version as it is stored, and what it decodes to: its files, and names of 1,024 bytes for twice as many. */
export const companionsObjectBytesMax = companionSetBytesMax + 1024 * 1024;
