// Every conformance case has a proof that exists, and every golden scenario proves a case or names
// the bug it is for.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { CASES } from './scenarios/cases.ts';

const SOURCE = fileURLToPath(new URL('../../test/', import.meta.url));
const CASE_COUNT = 40;

const titlesOf = (file: string): readonly string[] =>
  [...readFileSync(`${SOURCE}${file}`, 'utf8').matchAll(/t\.test\(\s*(['"`])(.*?)\1/g)].map(
    (match) => match[2] ?? '',
  );

function flawOf(proof: string, number: number): string | null {
  if (proof.endsWith('.txt')) {
    const path = `${SOURCE}scenarios/${proof}`;
    if (!existsSync(path)) return 'there is no such scenario';
    const isNamed = new RegExp(`^# Case ${number}:`).test(readFileSync(path, 'utf8'));
    return isNamed ? null : `its header does not say "# Case ${number}:"`;
  }
  const [file, ...title] = proof.split(': ');
  if (!existsSync(`${SOURCE}${file}`)) return 'there is no such test file';
  return titlesOf(file ?? '').includes(title.join(': ')) ? null : 'it has no test of this title';
}

t.test('every case from 1 to 40 has a proof that exists', async (t) => {
  for (let number = 1; number <= CASE_COUNT; number++) {
    const known = CASES.filter((one) => one.number === number);
    t.equal(known.length, 1, `case ${number} stands in the list once`);
    const proofs = known.flatMap((one) => one.proofs);
    t.ok(proofs.length > 0, `case ${number} has a proof`);
    for (const proof of proofs) t.equal(flawOf(proof, number), null, `case ${number}: ${proof}`);
  }
});

t.test(
  'every golden scenario is the proof of a case, or says which bug it keeps away',
  async (t) => {
    const listed = new Set(CASES.flatMap(({ proofs }) => proofs));
    for (const name of readdirSync(`${SOURCE}scenarios`)) {
      if (!name.endsWith('.txt')) continue;
      const header = readFileSync(`${SOURCE}scenarios/${name}`, 'utf8');
      t.ok(listed.has(name) || header.startsWith('# Bug: '), name);
    }
  },
);
