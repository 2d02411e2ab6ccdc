/**
 * Compiles kernel.wat into kernel-bytes.ts. Run after editing the text:
 * `node packages/shard-worker/src/distance/build-kernel.mjs`. A test recompiles and compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import wabtInit from 'wabt';

const wabt = await wabtInit();
const text = readFileSync(new URL('kernel.wat', import.meta.url), 'utf8');
const module = wabt.parseWat('kernel.wat', text, { simd: true });
const base64 = Buffer.from(module.toBinary({}).buffer).toString('base64');
const lines = base64.match(/.{1,80}/g).map((line) => `  '${line}',`);
writeFileSync(
  new URL('kernel-bytes.ts', import.meta.url),
  `/** kernel.wat compiled by build-kernel.mjs. Do not edit. */
export const KERNEL_BASE64 = [
${lines.join('\n')}
].join('');
`,
);
