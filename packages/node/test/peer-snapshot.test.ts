/**
 * Goal: over real sockets, a snapshot goes on behind what the receiver holds, and a receiver that
 * claims nonsense is refused. Method: transports on loopback with a receiver in memory.
 */
import { groupId, nodeId, SILENT_LOGGER } from '@holdfast/base';
import { decodePeerFrame, makeSnapshotChunk, type PeerFrame } from '@holdfast/protocol';
import t, { type Test } from 'tap';
import type { PeerContext } from '../src/peer/peer-context.ts';
import { SnapshotTransfer } from '../src/peer/snapshot-transfer.ts';
import type { OutgoingSnapshot, SnapshotReceiver } from '../src/service-api.ts';
import { createPeers, type Peer, startPeers, stopPeers } from './support/peer-net.ts';
import { until } from './support/until.ts';

const SIZES_BYTES = [3_000_000, 500_000, 0, 70_000];

async function pairFor(t: Test, receiver: SnapshotReceiver): Promise<[Peer, Peer]> {
  const [n1, n2] = (await createPeers({ ids: ['n1', 'n2'] })) as [Peer, Peer];
  t.teardown(() => stopPeers([n1, n2]));
  n2.transport.onSnapshot(receiver);
  await startPeers([n1, n2]);
  await until(() => n1.transport.stats().connectedPeerCount === 1);
  return [n1, n2];
}

function source(onRead: (fileIndex: number, offset: number) => void): OutgoingSnapshot & {
  readonly progress: number[];
} {
  const progress: number[] = [];
  return {
    group: groupId(1),
    id: 'a',
    meta: new Uint8Array([1]),
    files: SIZES_BYTES.map((sizeBytes, i) => ({
      path: `meta/${i}`,
      sizeBytes,
      checksum: 'c',
      read(offset, length) {
        onRead(i, offset);
        return new Uint8Array(length).fill(i + 1);
      },
    })),
    progress,
    onProgress: (heldSizeBytes) => void progress.push(heldSizeBytes),
  };
}

t.test('only what the receiver does not hold is read and sent, and progress is told', async (t) => {
  const heldSizesBytes = [1_200_000, 500_000, 0, 10];
  const written: [number, number, number][] = [];
  const [n1, n2] = await pairFor(t, {
    begin: () => ({
      heldSizesBytes,
      write: (fileIndex, offset, bytes) =>
        void written.push([fileIndex, offset, offset + bytes.byteLength]),
      finish: () => undefined,
      abort: () => undefined,
    }),
  });
  const reads: [number, number][] = [];
  const snapshot = source((fileIndex, offset) => reads.push([fileIndex, offset]));
  await n1.transport.sendSnapshot(n2.id, snapshot);
  t.strictSame(reads[0], [0, 1_200_000]);
  t.notOk(
    reads.some(([fileIndex]) => fileIndex === 1),
    'a file that is whole is not read',
  );
  t.strictSame(written[0]?.slice(0, 2), [0, 1_200_000]);
  t.strictSame(written.at(-1), [3, 10, 70_000]);
  const sentBytes = written.reduce((sum, [, from, to]) => sum + to - from, 0);
  t.equal(sentBytes, 1_800_000 + 69_990);
  t.equal(snapshot.progress[0], 1_700_010, 'the first progress is what was held');
  t.equal(snapshot.progress.at(-1), 3_570_000);
  t.strictSame(
    snapshot.progress,
    [...snapshot.progress].sort((left, right) => left - right),
  );
});

t.test('a receiver that holds everything is sent nothing, and installs', async (t) => {
  let isFinished = false;
  const [n1, n2] = await pairFor(t, {
    begin: () => ({
      heldSizesBytes: SIZES_BYTES,
      write: () => void t.fail('nothing is to be sent'),
      finish: () => {
        isFinished = true;
      },
      abort: () => undefined,
    }),
  });
  await n1.transport.sendSnapshot(
    n2.id,
    source(() => t.fail('nothing is to be read')),
  );
  t.ok(isFinished);
});

for (const [name, heldSizesBytes] of [
  ['more of a file than there is', [3_000_001, 0, 0, 0]],
  ['a file that was not listed', [0, 0, 0, 0, 5]],
] as const) {
  t.test(`a receiver that claims ${name} fails the transfer`, async (t) => {
    const [n1, n2] = await pairFor(t, {
      begin: () => ({
        heldSizesBytes,
        write: () => undefined,
        finish: () => void t.fail('nothing was sent'),
        abort: () => undefined,
      }),
    });
    await t.rejects(
      n1.transport.sendSnapshot(
        n2.id,
        source(() => undefined),
      ),
      {
        code: 'PEER_PROTOCOL',
      },
    );
  });
}

// A collection with a hundred shards has hundreds of files of a kilobyte: they all fit into the
// window of bytes, and filled the receiver's queue, which then said nothing.
t.test('hundreds of tiny files arrive, however slowly they are written', async (t) => {
  const fileCount = 1_000;
  const windowCount = 128;
  let readCount = 0;
  let writtenCount = 0;
  let underWayCountMax = 0;
  let openGate = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    openGate = resolve;
  });
  const [n1, n2] = await pairFor(t, {
    begin: () => ({
      async write() {
        await gate;
        writtenCount += 1;
      },
      finish: () => undefined,
      abort: () => undefined,
    }),
  });
  const read = (_offset: number, length: number): Uint8Array => {
    readCount += 1;
    underWayCountMax = Math.max(underWayCountMax, readCount - writtenCount);
    if (readCount === windowCount) openGate();
    return new Uint8Array(length);
  };
  await n1.transport.sendSnapshot(n2.id, {
    ...{ group: groupId(1), id: 'a', meta: new Uint8Array([1]) },
    files: Array.from({ length: fileCount }, (_, i) => ({
      ...{ path: `meta/${i}`, sizeBytes: 100, checksum: 'c', read },
    })),
  });
  t.equal(writtenCount, fileCount);
  t.equal(underWayCountMax, windowCount);
});

t.test('a sender that ignores the window is told so at once', async (t) => {
  const replies: PeerFrame[] = [];
  let abortReason = '';
  const transfer = new SnapshotTransfer({
    context: {
      counters: { snapshotsFailed: 0 },
      options: { logger: SILENT_LOGGER },
    } as PeerContext,
    from: nodeId('n1'),
    receiver: {
      begin: () => ({
        write: () => undefined,
        finish: () => undefined,
        abort: (reason) => {
          abortReason = reason;
        },
      }),
    },
    send: (bytes) => void replies.push(decodePeerFrame(bytes)),
  });
  const files = [{ path: 'meta/0', sizeBytes: 1_000, checksum: new Uint8Array([99]) }];
  const begin = { transferId: 1, group: 1, meta: new Uint8Array([1]), files };
  transfer.push({ kind: 'snapshotBegin', ...begin });
  await until(() => replies.length === 1);
  const bytes = new Uint8Array(1);
  for (let offset = 0; offset < 300; offset++) {
    transfer.push(makeSnapshotChunk({ transferId: 1, fileIndex: 0, offset, bytes }));
  }
  t.match(replies.at(-1), { kind: 'snapshotReply', transferId: 1, status: 'failed' });
  t.match(replies.at(-1), { reason: /window/ });
  await transfer.close('the test is over');
  t.match(abortReason, /window/);
});
