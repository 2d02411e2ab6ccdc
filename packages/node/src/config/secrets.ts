/** Reads the API key and the cluster secret from their files. Neither is ever logged. */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/base';
import type { NodeConfig } from './options.ts';

/** Shorter secrets can be guessed over the network. */
const SECRET_LENGTH_MIN = 16;
/** The protocol's limit of an API key. */
const SECRET_LENGTH_MAX = 256;

/** In the data directory; written by `holdfast cluster init` with mode 0600. */
export const CLUSTER_SECRET_FILE_NAME = 'cluster.secret';

/** Null when no key is configured. @throws HoldfastError CONFIG_INVALID */
export function readApiKey(config: NodeConfig): string | null {
  if (config.apiKeyFile === undefined) return null;
  return readSecret(config.apiKeyFile, 'apiKeyFile');
}

/** @throws HoldfastError CONFIG_INVALID */
export function readClusterSecret(config: NodeConfig): string {
  const path = config.clusterSecretFile ?? join(config.data, CLUSTER_SECRET_FILE_NAME);
  return readSecret(path, 'clusterSecretFile');
}

/** One line of 16 to 256 characters; surrounding white space does not count. */
export function readSecret(path: string, key: 'apiKeyFile' | 'clusterSecretFile'): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('CONFIG_INVALID', `${key}: cannot read ${path}: ${reason}`, {
      cause: error,
      details: { key, source: path },
    });
  }
  if (text.length < SECRET_LENGTH_MIN || text.length > SECRET_LENGTH_MAX || /\s/.test(text)) {
    throw new HoldfastError(
      'CONFIG_INVALID',

      `${key}: ${path} must hold one word of ${SECRET_LENGTH_MIN} to ` +
        `${SECRET_LENGTH_MAX} characters`,
      { details: { key, source: path } },
    );
  }
  return text;
}

/** A new file that only its owner may read. Never replaces one. @throws HoldfastError FILE_IO */
export function writeSecretFile(path: string, secret: string): void {
  try {
    const descriptor = openSync(path, 'wx', 0o600);
    try {
      writeSync(descriptor, `${secret}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('FILE_IO', `cannot write the secret file ${path}: ${reason}`, {
      cause: error,
      details: { path, operation: 'write' },
    });
  }
}
