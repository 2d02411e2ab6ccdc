/**
 * Goal: rot in the log of a running node is found and made good, and the next start finds a log
 * without a hole.
 * Method: as heal-files.test.ts; one bit per round, at a place by chance, also in unused space.
 * Replay: HOLDFAST_SEED=7 node packages/node/dist/test/heal-log-files.test.js
 */
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import {
  bytesOf,
  clusterWithSegments,
  DATA,
  expectHealed,
  filesOf,
  scrub,
  upsertBatch,
} from './support/healing.ts';

t.test(
  'damage of the log of a running node costs nothing, then or at the next start',
  async (t) => {
    const seed = Number(process.env.HOLDFAST_SEED ?? 1);
    for (let round = 0; round < 16; round++) {
      const cluster = await clusterWithSegments(2, seed + round);
      await upsertBatch(cluster, 2);
      await cluster.digests();
      const leader = await cluster.leader();
      const node = cluster.nodes.find((one) => one !== leader)!;
      const random = new SeededRandom(seed * 1_000 + round);
      const paths = filesOf(node, /\.wal$/);
      const path = paths[random.nextBelow(paths.length)]!;
      const bytes = bytesOf(node, path);
      // The used part, or the zeros behind it.
      const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
      const isUnused = round % 4 === 0 && used < bytes.byteLength;
      const at = isUnused
        ? used + random.nextBelow(bytes.byteLength - used)
        : random.nextBelow(Math.max(1, used));
      node.fileSystem.flipBit(`${DATA}/${path}`, at, random.nextBelow(8));
      const where = `seed ${seed}, round ${round}: bit in ${path} at ${at}`;
      const events = await scrub(cluster, node);
      const ends = events.filter(({ kind }) => kind === 'recovered' || kind === 'escalated');
      t.same(
        ends.map(({ kind, key }) => ({ kind, key })),
        [{ kind: 'recovered', key: path }],
        where,
      );
      if (ends[0]?.kind !== 'recovered') t.comment(JSON.stringify(events));
      t.same(await scrub(cluster, node), [], `${where}: told once`);
      await upsertBatch(cluster, 3);
      node.kill();
      await node.start();
      await expectHealed(t, cluster, 160);
      t.same(node.log?.damage(), [], where);
    }
  },
);
