// Networks of their own: hosts reach each other, a cut is one-way and below TCP, and nothing of it
// stays behind. Where the machine has none, the reason says what is missing.
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { Namespaces } from '../src/cluster/namespaces.ts';
import { whyNoNetnsCluster } from '../src/cluster/netns-cluster.ts';
import { shaped } from '../src/net/link-mode.ts';

// Real sockets, files and processes take as long as the machine lets them.
t.setTimeout(0);

const PORT = 7_000;
/** A server that answers every connection, and a client that says whether it was answered. */
const SERVER = `require('node:net').createServer((socket) => socket.end('yes'))
  .listen(${PORT}, process.argv[1], () => console.log('listening'))`;
const CLIENT = `const socket = require('node:net').connect(${PORT}, process.argv[1]);
  const end = (word) => { console.log(word); process.exit(0); };
  socket.setTimeout(2_000, () => end('silence'));
  socket.on('data', () => end('answer'));
  socket.on('error', () => end('error'));`;

const namespaceNames = (): string => execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });

t.test('a cut between two networks is one-way, silent, and can be mended', async (t) => {
  const reason = whyNoNetnsCluster();
  if (reason !== null) {
    t.match(reason, /run as root|install it/);
    await t.rejects(Namespaces.make(['n1']), { message: reason });
    return;
  }
  const namespaces = await Namespaces.make(['n1', 'n2', 'n3']);
  const servers = ['n1', 'n2'].map((name) => {
    const [command = '', ...prefix] = namespaces.commandPrefixOf(name);
    const node = [process.execPath, '-e', SERVER, namespaces.hostOf(name)];
    return execFile(command, [...prefix, ...node]);
  });
  t.teardown(() => namespaces.remove());
  // Both at once: the second may be ready before the first.
  await Promise.all(
    servers.map(({ stdout }) => new Promise((resolve) => stdout?.once('data', resolve))),
  );
  const ask = async (from: string, to: string): Promise<string> => {
    const [command = '', ...prefix] = namespaces.commandPrefixOf(from);
    const node = [process.execPath, '-e', CLIENT, namespaces.hostOf(to)];
    const { stdout } = await promisify(execFile)(command, [...prefix, ...node]);
    return stdout.trim();
  };
  t.equal(await ask('n1', 'n2'), 'answer');
  await namespaces.setLink('n1', 'n2', { kind: 'silence' });
  t.equal(await ask('n1', 'n2'), 'silence', 'what it sends does not arrive');
  t.equal(await ask('n2', 'n1'), 'silence', 'nor do its answers');
  t.equal(await ask('n3', 'n2'), 'answer', 'others are not concerned');
  await namespaces.resetConnections('n1', 'n2');
  await namespaces.heal();
  t.equal(await ask('n1', 'n2'), 'answer');
  t.equal(await ask('n2', 'n1'), 'answer');
  t.equal(namespaces.whyNot({ kind: 'silence' }), null);
  t.match(namespaces.whyNot(shaped({ delayMs: 1 })), /use the cluster of processes/);
  for (const server of servers) server.kill('SIGKILL');
  await namespaces.remove();
  t.notMatch(namespaceNames(), `hf${process.pid}-`, 'nothing stays behind');
});
