/** Goal: a process that ends while its memory is being limited is a fault that did not happen. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { MemoryLimit, reasonAgainstMemoryLimits } from '../src/nemesis/memory-limit.ts';

const skip = reasonAgainstMemoryLimits() ?? false;

const groupsLeft = (): readonly string[] =>
  ['/sys/fs/cgroup', '/sys/fs/cgroup/memory'].flatMap((folder) =>
    readdirSync(folder).filter((name) => name.startsWith(`holdfast-jepsen-${process.pid}-`)),
  );

const groupOf = (pid: number): string => readFileSync(`/proc/${pid}/cgroup`, 'utf8');

async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(child, 'exit');
  return child.pid ?? 0;
}

t.test('a process that runs is limited, and goes back where it was', { skip }, async (t) => {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  const home = groupOf(pid);
  const limit = MemoryLimit.of(pid, 'runs');
  t.match(groupOf(pid), /holdfast-jepsen-\d+-runs/);
  limit?.lift();
  t.equal(groupOf(pid), home);
  t.same(groupsLeft(), []);
  child.kill();
});

t.test('a process that has ended is not limited, and nothing is left', { skip }, async (t) => {
  t.equal(MemoryLimit.of(await endedPid(), 'ended'), null);
  t.same(groupsLeft(), []);
});

t.test('one that ends while it is limited is let go', { skip }, async (t) => {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  const limit = MemoryLimit.of(child.pid ?? 0, 'ends');
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  limit?.lift();
  t.same(groupsLeft(), []);
});

t.test('of a zombie, whether the kernel moves it or not, nothing is left', { skip }, async (t) => {
  // Its parent never waits for it: a shell that became something else.
  const parent = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 1000']);
  const [text] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(text.toString());
  while (!/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  MemoryLimit.of(pid, 'zombie')?.lift();
  t.same(groupsLeft(), []);
  parent.kill();
});
