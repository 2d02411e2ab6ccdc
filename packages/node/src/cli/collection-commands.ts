/** `holdfast collection rename|restore|purge|publish|digest`: what becomes of collections. */
import { HoldfastError } from '@holdfast/base';
import type { HiddenCollectionDescription } from '@holdfast/client';
import type { Command } from 'commander';
import { renderTable } from '../cluster/table.ts';
import { addClientFlags, type ClientFlags, withClient } from './client-flags.ts';
import { type CliIo, integerOption } from './io.ts';

interface RestoreFlags extends ClientFlags {
  readonly name?: string;
}

interface DigestFlags extends ClientFlags {
  readonly uid?: string;
}

/** Every point is read. */
const DIGEST_TIMEOUT_MS = '120000';

export function registerCollectionCommands(collection: Command, io: CliIo): void {
  addClientFlags(
    collection
      .command('rename')
      .description('give a collection another name, at one moment for everybody')
      .argument('<NAME>')
      .argument('<NEW_NAME>'),
  ).action((name: string, newName: string, flags: ClientFlags) => rename(name, newName, flags, io));
  addClientFlags(
    collection
      .command('restore')
      .description('bring a dropped collection back; see collection list --include-deleted')
      .argument('<UID>')
      .option('--name <NAME>', 'default: the name it had'),
  ).action((uid: string, flags: RestoreFlags) => undelete(uid, flags, io));
  addClientFlags(
    collection
      .command('purge')
      .description('let go of hidden collections for good, before their time is over')
      .argument('<UID...>'),
  ).action((uids: readonly string[], flags: ClientFlags) => purge(uids, flags, io));
  addClientFlags(
    collection
      .command('publish')
      .description('make restored collections visible, all at one moment or none')
      .argument('<UID...>'),
  ).action((uids: readonly string[], flags: ClientFlags) => publish(uids, flags, io));
  addClientFlags(
    collection
      .command('digest')
      .description('count and digest of the points; reads all of them')
      .argument('<NAME>')
      .option('--uid <UID>', 'of a hidden collection'),
    DIGEST_TIMEOUT_MS,
  ).action((name: string, flags: DigestFlags) => digest(name, flags, io));
}

async function rename(name: string, newName: string, flags: ClientFlags, io: CliIo) {
  const { index } = await withClient(flags, io, (client) =>
    client.collections.rename(name, newName),
  );
  io.out(`collection ${name} is ${newName} now (log index ${index})\n`);
}

async function undelete(text: string, flags: RestoreFlags, io: CliIo): Promise<void> {
  const uid = uidOf(text);
  const { name } = flags;
  const { collection, index } = await withClient(flags, io, (client) =>
    client.collections.undelete(uid, name === undefined ? {} : { name }),
  );
  io.out(`collection ${collection.name} is back (uid ${uid}, log index ${index})\n`);
}

async function purge(texts: readonly string[], flags: ClientFlags, io: CliIo): Promise<void> {
  const uids = texts.map(uidOf);
  await withClient(flags, io, async (client) => {
    for (const uid of uids) {
      const { isPurged } = await client.collections.purge(uid);
      if (!isPurged) {
        const message = `no hidden collection has the uid ${uid}`;
        throw new HoldfastError('COLLECTION_NOT_FOUND', message, { details: { uid } });
      }
      io.out(`collection with uid ${uid} is gone\n`);
    }
  });
}

async function publish(texts: readonly string[], flags: ClientFlags, io: CliIo): Promise<void> {
  const uids = texts.map(uidOf);
  const { collections, index } = await withClient(flags, io, (client) =>
    client.collections.publish(uids),
  );
  const names = collections.map(({ name }) => name).join(', ');
  io.out(`published ${names} (log index ${index})\n`);
}

async function digest(name: string, flags: DigestFlags, io: CliIo): Promise<void> {
  const options = flags.uid === undefined ? {} : { uid: uidOf(flags.uid) };
  const found = await withClient(flags, io, (client) => client.collections.digest(name, options));
  io.out(`${name}: ${found.pointCount} points, digest ${found.digest}\n`);
}

/** The table of `collection list --include-deleted`. */
export function hiddenTable(hidden: readonly HiddenCollectionDescription[]): string {
  const columns = [
    { title: 'UID', align: 'right' },
    { title: 'NAME' },
    { title: 'STATE' },
    { title: 'SINCE' },
    { title: 'PURGED AT' },
  ] as const;
  const rows = hidden.map(({ collection, purgeAtMs, sinceMs, state }) => [
    String(collection.createdIndex),
    collection.name,
    state,
    timeOf(sinceMs),
    timeOf(purgeAtMs),
  ]);
  return `${renderTable(columns, rows).join('\n')}\n`;
}

export const timeOf = (timeMs: number): string => new Date(timeMs).toISOString();

const uidOf = (text: string): number => integerOption(text, 'UID', 1, Number.MAX_SAFE_INTEGER);
