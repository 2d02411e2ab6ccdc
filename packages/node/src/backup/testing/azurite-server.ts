/** Microsoft's emulator of Azure Blob Storage as a child process, on loopback, in a folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { must } from '@holdfast/base';
import { ChildServer } from './child-server.ts';
import { freePorts } from './free-port.ts';

/** Well known and the same for everybody: it opens nothing but the emulator. */
export const AZURITE_ACCOUNT = 'devstoreaccount1';
export const AZURITE_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

export class AzuriteServer {
  readonly endpoint: string;
  readonly #folder: string;
  readonly #server: ChildServer;

  private constructor(endpoint: string, folder: string, server: ChildServer) {
    this.endpoint = endpoint;
    this.#folder = folder;
    this.#server = server;
  }

  static async start(): Promise<AzuriteServer> {
    const port = must((await freePorts(1))[0]);
    const folder = mkdtempSync(join(tmpdir(), 'hf-azurite-'));
    const require = createRequire(import.meta.url);
    const program = join(dirname(require.resolve('azurite/package.json')), 'dist/src/blob/main.js');
    const server = new ChildServer(process.execPath, [
      ...[program, '--silent', '--disableTelemetry', '--skipApiVersionCheck'],
      ...['--location', folder, '--blobHost', '127.0.0.1', '--blobPort', String(port)],
    ]);
    await server.untilListening(port);
    return new AzuriteServer(`http://127.0.0.1:${port}/${AZURITE_ACCOUNT}`, folder, server);
  }

  async stop(): Promise<void> {
    await this.#server.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
