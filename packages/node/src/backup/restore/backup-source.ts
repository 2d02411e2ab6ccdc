/** A backup in a sink as what a restore takes its files from. */
import type { BackupFile, BackupManifest, FileSystem } from '@holdfast/storage';
import type { BackupReader } from '../backup-reader.ts';
import type { RestoreSource } from './lay-directory.ts';

export const backupSource = (
  reader: Pick<BackupReader, 'fetchFile'>,
  manifest: BackupManifest,
  fileSystem: FileSystem,
): RestoreSource<BackupFile> => ({
  backupId: manifest.backupId,
  root: manifest.root,
  files: manifest.files,
  fetchFile: (file, path) => reader.fetchFile(manifest, file, fileSystem, path),
});
