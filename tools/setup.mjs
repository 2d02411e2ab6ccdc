/**
 * What every npm script calls first: checks Node, installs the pinned packages, compiles.
 *
 * The first run shows its steps with elapsed times. Later runs say nothing and cost a hash of the
 * manifests, a look at the file names and one incremental `tsc -b`.
 *
 * - Packages are installed only when the hash of lockfile, workspace file, pnpm hooks and every
 *   package.json differs from the stamp. The stamp lives inside node_modules, so deleting
 *   node_modules always means a new installation.
 * - `HOLDFAST_NO_INSTALL=1` turns a needed installation into an error: for a checkout that other
 *   processes are using, and for machines without a network.
 * - Tests run from compiled JavaScript. Output whose source is gone would still run, and output
 *   that is missing would not be rebuilt (the build information says it was): both are mended.
 *
 * Works on an old Node far enough to say that it is too old: keep the syntax plain.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleServer } from './bundle.mjs';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

const PNPM = 'pnpm@12.21.0';
const NODE_MAJOR_MIN = 20;
const NODE_MINOR_MIN = 20;
const STAMP = join(ROOT, 'node_modules/.setup-stamp');
/** How much of a failed step's output is repeated; the end is where tools say what went wrong. */
const OUTPUT_LINES_SHOWN_MAX = 40;

class SetupError extends Error {}

/** Every workspace folder that holds a package.json, as paths relative to the root. */
export function workspaceFolders(root = ROOT) {
  const children = (folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder)).map((n) => `${folder}/${n}`)
      : [];
  const folders = [
    ...children('packages'),
    'jepsen-lite',
    'bench',
    'tools',
    ...children('examples'),
  ];
  return folders.filter((folder) => existsSync(join(root, folder, 'package.json'))).sort();
}

/** The part of a manifest that an installation depends on: editing a script installs nothing. */
function dependencyFields(manifest) {
  const { name, version, dependencies, devDependencies, optionalDependencies, bin } =
    JSON.parse(manifest);
  return JSON.stringify({
    name,
    version,
    dependencies,
    devDependencies,
    optionalDependencies,
    bin,
  });
}

/** Changes whenever an installation could give another result. */
export function installFingerprint(root = ROOT) {
  const hash = createHash('sha256');
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.pnpmfile.cjs'])
    if (existsSync(join(root, file))) hash.update(readFileSync(join(root, file)));
  for (const folder of ['.', ...workspaceFolders(root)])
    hash.update(dependencyFields(readFileSync(join(root, folder, 'package.json'), 'utf8')));
  // a native addon is built for one major version of Node and one architecture
  hash.update(`${process.versions.modules}-${process.platform}-${process.arch}`);
  return hash.digest('hex');
}

/** Workspace folders whose own node_modules was deleted, of which the stamp knows nothing. */
export function foldersWithoutPackages(root = ROOT) {
  return workspaceFolders(root).filter((folder) => {
    const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const { dependencies, devDependencies } = manifest;
    const isNeeded = Object.keys({ ...dependencies, ...devDependencies }).length > 0;
    return isNeeded && !existsSync(join(root, folder, 'node_modules'));
  });
}

export function markInstalled(root = ROOT) {
  writeFileSync(STAMP, `${installFingerprint(root)}\n`);
}

export function checkNodeVersion(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor >= NODE_MINOR_MIN)) return;
  throw new SetupError(
    `Node ${version} is too old: Holdfast needs ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} or newer.\n` +
      'Install a newer Node (https://nodejs.org, or `nvm install 20`) and run the command again.',
  );
}

/** One step on the terminal: a live timer on a TTY, one line at the start and the end elsewhere. */
async function step(label, work) {
  const startedAt = Date.now();
  const seconds = () => `${((Date.now() - startedAt) / 1000).toFixed(1)} s`;
  const isLive = process.stderr.isTTY === true;
  if (isLive) process.stderr.write(`  ${label} ...`);
  else process.stderr.write(`  ${label} ...\n`);
  const timer = isLive
    ? setInterval(() => process.stderr.write(`\r  ${label} ... ${seconds()}`), 200)
    : undefined;
  const clear = isLive ? '\r\u001b[2K' : '';
  try {
    const result = await work();
    process.stderr.write(`${clear}  ${label}: done in ${seconds()}\n`);
    return result;
  } catch (error) {
    process.stderr.write(`${clear}  ${label}: FAILED after ${seconds()}\n`);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/** Runs a program to its end, keeping its output instead of showing it. */
function runQuietly(program, args, env = process.env) {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.stderr.on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => done({ code: 127, output: String(error) }));
    child.on('close', (code) =>
      done({ code: code ?? 1, output: Buffer.concat(chunks).toString() }),
    );
  });
}

const NETWORK_SIGNS =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|META_FETCH_FAIL|network/;

/** What to do next, guessed from the output of npx or pnpm. */
function installAdvice(code, output) {
  if (code === 127) return 'npx was not found: install npm (it comes with Node) and try again.';
  if (NETWORK_SIGNS.test(output))
    return 'The package registry could not be reached: check the network, the proxy settings and `npm config get registry`, then try again.';
  if (/OUTDATED_LOCKFILE|not up to date/.test(output))
    return 'A package.json and pnpm-lock.yaml disagree: run `npx -y pnpm@12.21.0 install --no-frozen-lockfile` and commit the lockfile.';
  if (/ENOSPC/.test(output)) return 'The disk is full: free some space and try again.';
  return 'The output above says why. Deleting node_modules and trying again is safe.';
}

async function install() {
  const args = ['-y', PNPM, 'install', '--frozen-lockfile'];
  // pnpm asks before it removes a foreign node_modules unless it believes that nobody is there
  const { code, output } = await runQuietly('npx', args, { ...process.env, CI: 'true' });
  if (code !== 0) throw new SetupError(`${lastLines(output)}\n\n${installAdvice(code, output)}`);
  markInstalled();
}

async function compile() {
  const { code, output } = await runQuietly(process.execPath, [TSC, '-b']);
  if (code !== 0)
    throw new SetupError(
      `${lastLines(output)}\n\nThe sources do not compile: see the errors above.`,
    );
}

function lastLines(output) {
  return output.trimEnd().split('\n').slice(-OUTPUT_LINES_SHOWN_MAX).join('\n');
}

function* filesBelow(folder, prefix = '') {
  if (!existsSync(folder)) return;
  for (const item of readdirSync(folder, { withFileTypes: true })) {
    const name = `${prefix}${item.name}`;
    if (item.isDirectory()) yield* filesBelow(join(folder, item.name), `${name}/`);
    else yield name;
  }
}

/** Makes compiled output agree with the sources where the compiler alone would not notice. */
export function mendOutput(root = ROOT) {
  for (const folder of workspaceFolders(root)) {
    for (const part of ['src', 'test']) {
      const sources = new Set();
      for (const file of filesBelow(join(root, folder, part)))
        if (file.endsWith('.ts') && !file.endsWith('.d.ts')) sources.add(file.slice(0, -3));
      const compiled = new Set();
      for (const file of filesBelow(join(root, folder, 'dist', part))) {
        const stem = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(file);
        if (stem === null) continue;
        if (!sources.has(stem[1])) rmSync(join(root, folder, 'dist', part, file));
        else if (stem[2] === '.js' && stem[3] === undefined) compiled.add(stem[1]);
      }
      if (sources.size <= compiled.size) continue;
      // either sources are new, which costs nothing extra, or output was deleted
      for (const file of filesBelow(join(root, folder, 'dist')))
        if (file.endsWith('.tsbuildinfo')) rmSync(join(root, folder, 'dist', file));
    }
  }
}

function hasGraphLibrary() {
  const store = join(ROOT, 'node_modules/.pnpm');
  if (!existsSync(store)) return false;
  return readdirSync(store)
    .filter((name) => name.startsWith('hnswlib-node@'))
    .some((name) =>
      existsSync(join(store, name, 'node_modules/hnswlib-node/build/Release/addon.node')),
    );
}

const NO_GRAPH_NOTE = `
  note: hnswlib-node was not built (no C++ compiler?). Everything works, but every search scans
  all rows. For graph search: apt-get install g++ make python3, delete node_modules, run again.
`;

/** Installs the packages when the manifests changed since the last time, and mends the output. */
async function installIfNeeded() {
  checkNodeVersion();
  const isInstalled =
    existsSync(STAMP) &&
    readFileSync(STAMP, 'utf8').trim() === installFingerprint() &&
    foldersWithoutPackages().length === 0;
  if (!isInstalled && process.env.HOLDFAST_NO_INSTALL === '1')
    throw new SetupError(
      'The installed packages do not match the manifests, and HOLDFAST_NO_INSTALL=1 forbids an\n' +
        'installation. Unset it and run the command again.',
    );
  if (!isInstalled) {
    process.stderr.write(`Setting up Holdfast (Node ${process.versions.node})\n`);
    mkdirSync(join(ROOT, 'node_modules'), { recursive: true });
    await step(`installing packages with ${PNPM}, frozen lockfile`, install);
    if (!hasGraphLibrary()) process.stderr.write(`${NO_GRAPH_NOTE}\n`);
  }
  mendOutput();
}

/** Brings the checkout to a state in which compiled code runs. Throws SetupError with advice. */
async function setup() {
  await installIfNeeded();
  const hasOutput = existsSync(join(ROOT, 'tools/dist/.tsbuildinfo'));
  if (hasOutput) await compile();
  else await step('compiling with tsc -b', compile);
  await bundle();
}

/** Without a bundle everything works, and starts more slowly. */
async function bundle() {
  try {
    await bundleServer(ROOT);
  } catch (error) {
    process.stderr.write(
      `  note: the server was not bundled and starts slowly: ${error.message}\n`,
    );
  }
}

/**
 * Runs the set-up, and on failure prints what to do and ends the process with exit code 1.
 * `closingLine` is then the last line on stdout, for a caller whose last line is read by others.
 */
export const setupOrExit = (closingLine) => orExit(setup, closingLine);

/** As `setupOrExit` without compiling, for a caller that reports on the compiler itself. */
export const installOrExit = () => orExit(installIfNeeded);

async function orExit(work, closingLine) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`\n${error.message}\n`);
    if (closingLine !== undefined) process.stdout.write(`${closingLine}\n`);
    process.exit(1);
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url))
  await setupOrExit();
