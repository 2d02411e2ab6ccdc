/** The machine and the versions a figure was measured with; a figure without them means nothing. */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';

export interface Environment {
  readonly takenAt: string;
  readonly cpuModel: string;
  readonly coreCount: number;
  readonly memoryBytes: number;
  readonly operatingSystem: string;
  readonly nodeVersion: string;
  readonly versions: Readonly<Record<string, string>>;
}

export function readEnvironment(now: Date): Environment {
  return {
    takenAt: now.toISOString(),
    cpuModel: cpus()[0]?.model ?? 'unknown',
    coreCount: availableParallelism(),
    memoryBytes: totalmem(),
    operatingSystem: `${platform()} ${release()} ${arch()}`,
    nodeVersion: process.version,
    versions: {
      holdfast: packageVersion('@holdfast/node'),
      'hnswlib-node': packageVersion('hnswlib-node'),
      etcd3: packageVersion('etcd3'),
      etcd: commandVersion('etcd', ['--version']),
    },
  };
}

/** First line of what a command prints about itself; 'absent' when there is no such command. */
export function commandVersion(command: string, commandArguments: readonly string[]): string {
  try {
    const output = execFileSync(command, [...commandArguments], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return output.split('\n')[0]?.trim() ?? 'unknown';
  } catch {
    return 'absent';
  }
}

function packageVersion(name: string): string {
  const require = createRequire(import.meta.url);
  // The entry file may be deep inside the package; its manifest is the nearest one above.
  for (const path of require.resolve.paths(name) ?? []) {
    try {
      const manifest: unknown = require(`${path}/${name}/package.json`);
      if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) {
        return String(manifest.version);
      }
    } catch {
      // Not in this directory: the next one of the search path decides.
    }
  }
  return 'absent';
}
