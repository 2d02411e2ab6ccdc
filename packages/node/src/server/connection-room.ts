/**
 * A node whose client connections are all taken makes room: its limit grows by a quarter at a time,
 * up to twice what is configured, and goes back once clients have left. Whoever was refused
 * meanwhile comes back after the delay that the refusal names.
 */
import type { RecoveryCause } from '../heal/recovery-manager.ts';
import type { Admission } from './admission.ts';

export function connectionsExhausted(admission: Admission): RecoveryCause {
  return {
    ...{ key: 'client connections', type: 'poolExhausted', priority: 2 },
    what: `all ${admission.connectionCountMax} client connections are taken`,
    // Nothing waits in a pool of connections: whoever was refused asks again.
    isPrerequisite: true,
    ladder: [
      {
        name: 'growConnections',
        run: async () => ({ connectionCountMax: admission.grow() }),
        verify: async () => admission.hasRoom,
      },
    ],
  };
}
