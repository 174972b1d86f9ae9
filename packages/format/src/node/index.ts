// @pageferry/format/node: the part of the format that touches disk. Everything else of this package is pure.

export {
  fromFileSystem,
  fsyncDirectory,
  isTemporaryPath,
  makeDirectoryDurable,
  openFilesHint,
  type PublishOptions,
  publishDurable,
  temporaryPath,
  type WriteFileOptions,
  writeAll,
  writeFileDurable,
} from "./durable.ts";
export { type FileLock, fileLocks } from "./file-locks.ts";
export { directoryReader } from "./file-reader.ts";
export { type FileSink, type FileSinkOptions, fileSink } from "./file-sink.ts";
export { fileSpool } from "./file-spool.ts";
export { logicalHashOf } from "./logical-hash-file.ts";
export {
  formatManifestKey,
  manifestKeyId,
  parseManifestKey,
  readSignedManifest,
  signManifest,
} from "./manifest-signature.ts";
export { type FilePageSource, openPageSource } from "./page-source.ts";
export { type RestoreFileOptions, type RestoreFileResult, restoreFile } from "./restore-file.ts";
export { threadWorkbench } from "./restore-threads.ts";
export { openSocketPath, type SocketPath } from "./socket-path.ts";
export { threadUrl } from "./thread-url.ts";
