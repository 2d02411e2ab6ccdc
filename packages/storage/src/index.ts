export type {
  ArchiveKey,
  KeyRing,
  KeyRingOptions,
  KeyService,
} from './archive/archive-key.ts';
export {
  isArchiveKeyId,
  makeArchiveKey,
  makeKeyRing,
  NO_KEYS,
  parseArchiveKey,
  readArchiveKeyFile,
} from './archive/archive-key.ts';
export {
  backupIdOfManifestKey,
  backupManifestKey,
  backupPrefix,
  epochKey,
  epochPrefix,
  fileKey,
  filePrefix,
  gapKey,
  gapPrefix,
  isBackupId,
  isTimelineName,
  lockKey,
  lockPrefix,
  logChunkKey,
  logChunkPrefix,
  numberOfKey,
  restoreTestKey,
  restoreTestPrefix,
  timelineKey,
  timelinePrefix,
} from './archive/archive-names.ts';
export type {
  BackupCollection,
  BackupFile,
  BackupFileKind,
  BackupLogRange,
  BackupManifest,
  BackupType,
} from './archive/backup-manifest.ts';
export {
  BACKUP_FILE_COUNT_MAX,
  BACKUP_LOG_CHUNK_COUNT_MAX,
  BACKUP_MANIFEST_SIZE_BYTES_MAX,
  decodeBackupManifest,
  encodeBackupManifest,
} from './archive/backup-manifest.ts';
export type { ChainLink, ChainPoint } from './archive/chain-point.ts';
export { archiveCorrupt, checkFollows, emptyChainPoint } from './archive/chain-point.ts';
export type { Compression } from './archive/compression.ts';
export type { SiteEpoch } from './archive/epoch-object.ts';
export {
  decodeSiteEpoch,
  encodeSiteEpoch,
  SITE_EPOCH_SIZE_BYTES_MAX,
} from './archive/epoch-object.ts';
export type { EntryTimestamp, LogChunk, LogChunkChecks, NewLogChunk } from './archive/log-chunk.ts';
export { decodeLogChunk, encodeLogChunk, endOfChunk, logTimeMs } from './archive/log-chunk.ts';
export type { LogChunkHeader } from './archive/log-chunk-header.ts';
export {
  LOG_CHUNK_HEADER_SIZE_BYTES,
  LOG_CHUNK_SIZE_BYTES_MAX,
} from './archive/log-chunk-header.ts';
export type { LogGap, LogGapReason } from './archive/log-gap.ts';
export {
  decodeLogGap,
  encodeLogGap,
  endOfGap,
  isLogGap,
  LOG_GAP_SIZE_BYTES_MAX,
} from './archive/log-gap.ts';
export type { RestoreTestFailure, RestoreTestResult } from './archive/restore-test-object.ts';
export {
  decodeRestoreTest,
  encodeRestoreTest,
  RESTORE_TEST_SIZE_BYTES_MAX,
  restoreTestFromJson,
} from './archive/restore-test-object.ts';
export type { OpenOptions, RandomBytes, SealOptions } from './archive/sealed-frames.ts';
export { FrameSealer } from './archive/sealed-frames.ts';
export type { SealedHeader, SealedKind } from './archive/sealed-layout.ts';
export {
  FRAME_HEADER_SIZE_BYTES,
  FRAME_TAG_SIZE_BYTES,
  SALT_SIZE_BYTES as SEALED_SALT_SIZE_BYTES,
  SEALED_FRAME_SIZE_BYTES,
  SEALED_HEADER_SIZE_BYTES,
  sealedSizeBytesMax,
} from './archive/sealed-layout.ts';
export type { ByteChunks, SealStreamOptions } from './archive/sealed-object.ts';
export {
  openSealed,
  openSealedStream,
  peekSealedHeader,
  sealBytes,
  sealStream,
  systemRandomBytes,
} from './archive/sealed-object.ts';
export type { Timeline, TimelineObject, TimelineParent } from './archive/timeline-object.ts';
export {
  decodeTimeline,
  encodeTimeline,
  haveSameOrigin,
  startOfTimeline,
  TIMELINE_SIZE_BYTES_MAX,
} from './archive/timeline-object.ts';
export {
  dropTemporary,
  removeTemporaryFiles,
  replaceFile,
  TEMPORARY_SUFFIX,
  writeAtomicFile,
} from './atomic-file.ts';
export type { JsonFormat } from './atomic-json.ts';
export { readAtomicJson, writeAtomicJson } from './atomic-json.ts';
export type {
  CheckpointMetaFile,
  CheckpointRoot,
  CheckpointRoots,
  CheckpointShard,
  FoundCheckpoint,
} from './checkpoint-root.ts';
export {
  CHECKPOINT_FILE_NAME,
  CHECKPOINT_GENERATION_COUNT_MAX,
  CHECKPOINT_GENERATION_COUNT_MIN,
  CHECKPOINT_PREVIOUS_FILE_NAME,
  checkpointRootAge,
  checkpointRootNames,
  readCheckpointFile,
  readCheckpointRoot,
  readCheckpointRoots,
  recoverCheckpointRoot,
  referencedFiles,
  rewriteCheckpointRoot,
  writeCheckpointRoot,
} from './checkpoint-root.ts';
export type { ChecksumAlgorithm, ChecksumAlgorithmFacts, StreamDigest } from './checksum.ts';
export {
  checksumAlgorithmById,
  checksumAlgorithms,
  crc32c,
  crc32cOfChunks,
  createEntryHasher,
  createStreamDigest,
  ENTRY_HASH_ALGORITHM_ID,
  fromHex,
  sha256,
  toHex,
  xxh3_64,
  xxh128,
} from './checksum.ts';
export type { Steps } from './checksummed-check.ts';
export { digestSteps, soundPrefixSteps } from './checksummed-check.ts';
export {
  ChecksummedFileReader,
  digestChecksummedFile,
  verifyChecksummedFile,
} from './checksummed-file.ts';
export type { ChecksummedFileKind } from './checksummed-layout.ts';
export { BLOCK_SIZE_BYTES } from './checksummed-layout.ts';
export {
  BlockFilePatch,
  BlockFileShape,
  badBlockSteps,
  readHeaderBytes,
} from './checksummed-repair.ts';
export type { ChecksummedFileFacts, ChecksummedFileOptions } from './checksummed-writer.ts';
export { ChecksummedFileWriter, writeChecksummedFile } from './checksummed-writer.ts';
export type { Damage } from './damage.ts';
export {
  COLLECTIONS_DIRECTORY_NAME,
  formatDataDirectory,
  META_DIRECTORY_NAME,
  QUARANTINE_DIRECTORY_NAME,
  REPAIR_DIRECTORY_NAME,
  WAL_DIRECTORY_NAME,
} from './data-directory.ts';
export type { DataLock } from './data-lock.ts';
export { findLockHolder, isLockFileName, lockDataDirectory } from './data-lock.ts';
export type { FailpointOrder } from './failpoint-arming.ts';
export {
  armFailpointsFromEnvironment,
  FAILPOINTS_SEEN_VARIABLE,
  FAILPOINTS_VARIABLE,
} from './failpoint-arming.ts';
export type { FileHandle, FileSystem, OpenMode } from './fs.ts';
export {
  baseName,
  isDiskFullError,
  isFileIoError,
  joinPath,
  parentDirectory,
  readWholeFile,
} from './fs.ts';
export { fsckDataDirectory } from './fsck.ts';
export type { NodeIdentity } from './identity.ts';
export {
  DATA_FORMAT_VERSION,
  IDENTITY_FILE_NAME,
  identitiesEqual,
  identityPath,
  readIdentity,
  writeIdentity,
} from './identity.ts';
export type { WalFileLine } from './inspect.ts';
export { describeWalFile } from './inspect.ts';
export { JsonFields } from './json-shape.ts';
export { NodeFileSystem } from './node-fs.ts';
export type { ProcessIdentity, ProcessTable } from './process-table.ts';
export { NodeProcessTable } from './process-table.ts';
export type { ScrubJob, ScrubLook } from './scrub-job.ts';
export { lookAtFile, scrubLook } from './scrub-job.ts';
export type { FileFlaw, ScrubSteps } from './scrub-steps.ts';
export { flaw, scrubBlockFile, scrubSmallFile } from './scrub-steps.ts';
export { lowerThreadPriority } from './thread-priority.ts';
export type { EpochRecord } from './wal/epoch-file.ts';
export { EPOCH_FILE_NAME, readEpoch, verifyEpochFile, writeEpoch } from './wal/epoch-file.ts';
export type { WalFileFacts } from './wal/file-facts.ts';
export type { TermAndVote } from './wal/hard-state-copies.ts';
export {
  HARD_STATE_FILE_NAMES,
  isHardStateCopyOld,
  readHardStateCopies,
} from './wal/hard-state-copies.ts';
export type { InlineWalOptions, Schedule } from './wal/inline-wal.ts';
export { InlineWal } from './wal/inline-wal.ts';
export type { ReadLogs } from './wal/read-logs.ts';
export { readLogs } from './wal/read-logs.ts';
export type { TornTail } from './wal/scan.ts';
export type { WalFlaw, WalScrubSteps } from './wal/scrub.ts';
export { listWalFiles, walFileNameOf } from './wal/scrub.ts';
export type { WalSyncMode } from './wal/sync-pace.ts';
export { isUnsafeSyncMode } from './wal/sync-pace.ts';
export type { ThreadWalOptions } from './wal/thread-wal.ts';
export { ThreadWal } from './wal/thread-wal.ts';
export type {
  DamagedRange,
  DurableListener,
  GroupLog,
  GroupStats,
  LogAppend,
  LogBase,
  Wal,
  WalFailureListener,
  WalOptions,
  WalOrder,
  WalStats,
} from './wal/types.ts';
export { DEFAULT_WAL_OPTIONS } from './wal/types.ts';
export type { WalWrites, WriteRetryOptions } from './wal/write-retry.ts';
export { WAL_WRITES_FINE, WRITE_RETRY_DEFAULT } from './wal/write-retry.ts';
export type { WriteErrorFacts, WriteErrorType } from './write-errors.ts';
export { classifyWriteError } from './write-errors.ts';
