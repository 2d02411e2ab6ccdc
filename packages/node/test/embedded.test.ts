/** Goal: a node inside the application's own process serves whoever is given its address. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openEmbedded } from '../src/embedded.ts';
import { RawClient } from './support/raw-client.ts';

t.test('openEmbedded resolves when its node serves, and not before', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-embedded-'));
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }));
  // So patient that a node which nobody waits for has no leader yet.
  const settings = { laneCount: '1', electionTimeoutMs: '1000', heartbeatIntervalMs: '100' };
  const client = await openEmbedded({ dataDir, settings });
  t.teardown(() => client.close());
  const raw = await RawClient.open(client.address);
  t.teardown(() => raw.close());
  raw.hello();
  t.match(await raw.next(), { kind: 'welcome', leader: { nodeId: 'embedded' } });
});
