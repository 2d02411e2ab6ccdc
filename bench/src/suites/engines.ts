/**
 * Every graph engine at every precision: how fast it builds, how fast it finds at one recall, what
 * it costs in memory. Each in a process of its own, because memory that one gave back would be the
 * next one's gain; rates are per second of its processor time. Candidates are ranked again from the
 * f32 vectors, as a node does.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Bench, type Figure, figure } from '../result.ts';
import type { EngineFacts } from './engine-process.ts';

const run = promisify(execFile);
const PROCESS_PATH = fileURLToPath(new URL('./engine-process.js', import.meta.url));
const CHOICES = ['hnswlib f32', 'usearch f32', 'usearch bf16'] as const;
const SIZES = [
  { dimension: 128, vectorCount: 20_000 },
  { dimension: 384, vectorCount: 20_000 },
  { dimension: 768, vectorCount: 20_000 },
] as const;
const QUICK_COUNT = 2_000;

export const enginesBench: Bench = {
  name: 'engines',
  description: 'graph engines: build rate, searches at recall >= 0.98, memory, per dimension',
  run: async (context) => {
    const figures: Figure[] = [];
    const notes: string[] = [];
    const raw: Record<string, unknown> = {};
    for (const { dimension, vectorCount } of SIZES) {
      const count = context.isQuick ? QUICK_COUNT : vectorCount;
      for (const choice of CHOICES) {
        const name = `${choice} ${dimension}-d`;
        const [engine, precision] = choice.split(' ');
        const { stdout } = await run(process.execPath, [
          PROCESS_PATH,
          ...[engine ?? '', precision ?? '', String(dimension), String(count)],
        ]);
        const facts = JSON.parse(stdout) as EngineFacts;
        raw[name] = facts;
        if (facts.kind === 'absent') {
          notes.push(`${name}: not installed here`);
          continue;
        }
        context.log(`${name}: ${Math.round(facts.buildRate)} v/s, ${Math.round(facts.rate)}/s`);
        figures.push(
          figure(`${name}: built`, facts.buildRate, 'vectors/cpu s'),
          figure(`${name}: searches at recall ${facts.recall.toFixed(3)}`, facts.rate, '/cpu s'),
          figure(`${name}: memory`, facts.bytesPerVector, 'B/vector'),
        );
      }
    }
    return { figures, notes, raw };
  },
};
