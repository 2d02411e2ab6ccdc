/**
 * Goal: a manifest that decodes is complete, and whatever is wrong with one is named. Method: one
 * good manifest, every field of it changed, removed and repeated.
 */
import { createHash } from 'node:crypto';
import {
  HoldfastError,
  incarnation,
  logIndex,
  makeConf,
  nodeId,
  SeededRandom,
  term,
} from '@holdfast/base';
import t from 'tap';
import type { BackupManifest } from '../src/archive/backup-manifest.ts';
import {
  BACKUP_LOG_CHUNK_COUNT_MAX,
  decodeBackupManifest,
  encodeBackupManifest,
} from '../src/archive/backup-manifest.ts';

const CLUSTER = '0123456789abcdef'.repeat(2);
const hash = (digit: string): string => digit.repeat(64);

function makeManifest(changes: Partial<BackupManifest> = {}): BackupManifest {
  const member = {
    nodeId: nodeId('n1'),
    incarnation: incarnation(CLUSTER),
    address: 'n1:2',
    clientAddress: null,
  };
  const meta = {
    index: logIndex(90),
    term: term(3),
    sum: new Uint8Array(16).fill(9),
    conf: makeConf([member], []),
    confIndex: logIndex(0),
    id: 'c90',
  };
  const file = (path: string, digit: string, kind: 'meta' | 'manifest' | 'segment') => ({
    ...{ path, kind, sha256: hash(digit), checksum: hash(digit) },
    ...{ sizeBytes: 100, storedSizeBytes: 196 },
  });
  return {
    ...{ backupId: '11111111-2222-3333-4444-555555555555', type: 'full', createdMs: 1_000 },
    ...{ logTimeMs: 900, clusterId: CLUSTER, timeline: 't1', nodeId: 'n1' },
    ...{ productVersion: '0.1.0', dataFormatVersion: 1, compression: 'zstd', keyId: null },
    ...{ baseBackupId: null, log: { firstIndex: 41, lastIndex: 90, chunks: [40, 60, 90] } },
    ...{ sizeBytes: 300, storedSizeBytes: 588, vectorCount: 7 },
    root: {
      generation: 4,
      meta,
      metaFile: { path: 'meta/meta-90-c90.meta', checksum: hash('a'), sizeBytes: 100 },
      shards: [
        {
          ...{ collectionUid: '5', shard: 0, checksum: hash('b') },
          manifestPath: 'collections/5/0/manifest-c90.man',
        },
      ],
    },
    files: [
      file('collections/5/0/manifest-c90.man', 'b', 'manifest'),
      file('collections/5/0/segment-00000001.seg', 'c', 'segment'),
      file('meta/meta-90-c90.meta', 'a', 'meta'),
    ],
    collections: [
      {
        ...{ name: 'docs', uid: 5, dimension: 4, shardCount: 1 },
        ...{ vectorCount: 7, digest: 'ff'.repeat(16) },
      },
    ],
    ...changes,
  } as BackupManifest;
}

function codeOf(body: () => unknown): string {
  try {
    body();
    return 'fine';
  } catch (error) {
    return error instanceof HoldfastError ? error.code : String(error);
  }
}

/** The fields that forgers change. */
interface ManifestBody {
  backupId: string;
  baseBackupId: string | null;
  type: string;
  vectorCount: number;
  files: { path: string; sizeBytes: number }[];
  root: { metaFile: { checksum: string }; shards: { checksum: string }[] };
  log: { firstIndex: number; lastIndex: number; chunks: number[] };
}

/** The manifest as somebody else would write it, checksum and all. */
function forged(change: (body: ManifestBody & Record<string, unknown>) => void): Uint8Array {
  const text = Buffer.from(encodeBackupManifest(makeManifest())).toString();
  const { body } = JSON.parse(text) as { body: ManifestBody & Record<string, unknown> };
  change(body);
  return renderWith(body);
}

function renderWith(body: unknown): Uint8Array {
  const [format, version] = ['holdfast-backup', 1];
  const text = JSON.stringify([format, version, body]);
  const checksum = createHash('sha256').update(text).digest('hex');
  return Buffer.from(`${JSON.stringify({ format, version, checksum, body }, null, 1)}\n`);
}

t.test('a manifest comes back as it was, the checkpoint root included', async (t) => {
  const manifest = makeManifest();
  const bytes = encodeBackupManifest(manifest);
  t.same(decodeBackupManifest(bytes, 'x'), manifest);
  t.equal(
    codeOf(() =>
      decodeBackupManifest(
        forged(() => {}),
        'x',
      ),
    ),
    'fine',
    'so forging works',
  );
  const incremental = makeManifest({ type: 'incremental', baseBackupId: 'aaaaaaaa-bbbb' });
  t.same(decodeBackupManifest(encodeBackupManifest(incremental), 'x'), incremental);
});

t.test('every field that is missing, or of another type, is refused by name', async (t) => {
  const { body } = JSON.parse(Buffer.from(encodeBackupManifest(makeManifest())).toString()) as {
    body: Record<string, unknown>;
  };
  for (const name of Object.keys(body)) {
    for (const value of [undefined, [], {}, -1, 1.5, '../x', true]) {
      const bytes = forged((fields) => {
        (fields as Record<string, unknown>)[name] = value;
      });
      const isAllowed =
        (name === 'productVersion' && typeof value === 'string') ||
        (name === 'collections' && Array.isArray(value));
      const code = codeOf(() => decodeBackupManifest(bytes, 'objects/m1'));
      if (!isAllowed) t.equal(code, 'BACKUP_CORRUPT', `${name} = ${JSON.stringify(value)}`);
    }
  }
  try {
    decodeBackupManifest(
      forged((fields) => {
        Object.assign(fields, { createdMs: 'x' });
      }),
      'objects/m1',
    );
    t.fail('must be refused');
  } catch (error) {
    t.match((error as Error).message, /objects\/m1.*createdMs/);
  }
});

const INCOMPLETE: readonly (readonly [string, (body: ManifestBody) => void])[] = [
  ['no meta file', (body) => body.files.pop()],
  ['no shard manifest', (body) => body.files.shift()],
  [
    'another meta file',
    (body) => {
      body.root.metaFile.checksum = hash('d');
    },
  ],
  [
    'another shard manifest',
    (body) => {
      body.root.shards[0]!.checksum = hash('d');
    },
  ],
  [
    'a path twice',
    (body) => {
      body.files[1]!.path = body.files[0]!.path;
    },
  ],
  [
    'a path that leads out',
    (body) => {
      body.files[1]!.path = 'collections/../../etc/passwd';
    },
  ],
  [
    'an absolute path',
    (body) => {
      body.files[1]!.path = '/etc/passwd';
    },
  ],
  [
    'a file elsewhere',
    (body) => {
      body.files[1]!.path = 'wal/0000000000000001.wal';
    },
  ],
  [
    'a hidden file',
    (body) => {
      body.files[1]!.path = 'collections/.x';
    },
  ],
  [
    'a wrong sum',
    (body) => {
      body.files[1]!.sizeBytes = 99;
    },
  ],
  [
    'a wrong count',
    (body) => {
      body.vectorCount = 8;
    },
  ],
  [
    'a base that does not fit',
    (body) => {
      body.baseBackupId = 'aaaaaaaa-bbbb';
    },
  ],
  [
    'itself as base',
    (body) => {
      body.type = 'incremental';
      body.baseBackupId = body.backupId;
    },
  ],
  [
    'a log that ends elsewhere',
    (body) => {
      body.log.lastIndex = 91;
    },
  ],
  [
    'a log that begins before its chunks',
    (body) => {
      body.log.firstIndex = 39;
    },
  ],
  [
    'chunks in disorder',
    (body) => {
      body.log.chunks = [40, 90, 60];
    },
  ],
  [
    'no chunks',
    (body) => {
      body.log.chunks = [];
    },
  ],
];

t.test('a manifest that is not complete in itself is refused', async (t) => {
  for (const [name, change] of INCOMPLETE) {
    t.equal(
      codeOf(() => decodeBackupManifest(forged(change), 'x')),
      'BACKUP_CORRUPT',
      name,
    );
  }
});

t.test('no flipped bit of a manifest passes', async (t) => {
  const bytes = encodeBackupManifest(makeManifest());
  const random = new SeededRandom(1);
  const passed: number[] = [];
  for (let at = 0; at < bytes.byteLength; at++) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ (1 << random.nextBelow(8));
    const code = codeOf(() => decodeBackupManifest(damaged, 'x'));
    if (code !== 'BACKUP_CORRUPT' && code !== 'FORMAT_UNKNOWN') passed.push(at);
  }
  t.same(passed, []);
});

t.test('what is over a limit is no backup, and is told before anything is written', async (t) => {
  const chunks = Array.from({ length: BACKUP_LOG_CHUNK_COUNT_MAX + 1 }, (_, i) => i + 1);
  const log = { firstIndex: 1, lastIndex: 90, chunks };
  t.equal(
    codeOf(() => encodeBackupManifest(makeManifest({ log }))),
    'BACKUP_ABORTED',
  );
});
