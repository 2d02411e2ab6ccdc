/**
 * Bundles the server: one file per thread, from the compiled modules. A start from modules spends
 * most of its time resolving and loading some 400 files; from the bundle it does not.
 *
 * The bundle is a cache beside the modules (`packages/node/src/launch/program-url.ts` says when it
 * is used), so whatever changes a compiled file, such as a planted bug, runs as it was changed.
 * Outside stay native libraries, packages that read files of their own (threads, WebAssembly), and
 * those that only some nodes load, and late.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const NODE_DIST = 'packages/node/dist';
const BUNDLE = `${NODE_DIST}/bundle`;

/** Bundled file -> compiled entry. */
const ENTRIES = {
  program: 'packages/node/dist/src/program.js',
  'wal-worker': 'packages/storage/dist/src/wal/wal-worker.js',
  'scrub-worker': 'packages/node/dist/src/heal/scrub-worker.js',
  'seal-worker': 'packages/node/dist/src/backup/sealing/seal-worker.js',
  'lane-worker': 'packages/shard-worker/dist/src/worker.js',
};

/** Where a thread is started from a file: the module that says so, its text, the bundled file. */
const THREADS = [
  ['packages/storage/dist/src/wal/thread-wal.js', './wal-worker.js', 'wal-worker'],
  ['packages/node/dist/src/heal/scrub-thread.js', './scrub-worker.js', 'scrub-worker'],
  ['packages/node/dist/src/backup/sealing/seal-thread.js', './seal-worker.js', 'seal-worker'],
  ['packages/shard-worker/dist/src/host/lane.js', '../worker.js', 'lane-worker'],
];

const OUTSIDE = /^(piscina|pino|@bokuweb\/zstd-wasm|@(aws-sdk|azure)\/.*)$/;
/** Optional speed-ups that are not installed; the packages that ask for them go on without. */
const ABSENT = /^(bufferutil|utf-8-validate|msgpackr-extract)$/;

/** Does nothing while the bundle is made from what is there. Throws Error with advice. */
export async function bundleServer(root) {
  const folder = join(root, BUNDLE);
  const launch = await import(
    pathToFileURL(join(root, NODE_DIST, 'src/launch/program-url.js')).href
  );
  if (launch.isBundleCurrent(pathToFileURL(`${folder}/`))) return;
  rmSync(join(folder, launch.BUNDLE_FACTS_FILE), { force: true });
  const { build } = await import('esbuild');
  const threadsLeft = new Set(THREADS.map(([module]) => module));
  const { metafile, outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ENTRIES,
    outdir: BUNDLE,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    // packages in CommonJS ask for the modules of Node by `require`
    banner: {
      js:
        "import { createRequire as requireOf } from 'node:module';" +
        'const require = requireOf(import.meta.url);',
    },
    plugins: [outside(folder), ownPlaces(root, folder, threadsLeft)],
    logLevel: 'silent',
  });
  if (threadsLeft.size > 0)
    throw new Error(`no thread is started where the bundle expects it: ${[...threadsLeft]}`);
  const inputs = Object.keys(metafile.inputs).map((path) => {
    const { mtimeMs, size } = statSync(join(root, path));
    return { path: relative(folder, join(root, path)), sizeBytes: size, modifiedMs: mtimeMs };
  });
  mkdirSync(folder, { recursive: true });
  for (const { path, contents } of outputFiles) replace(path, contents);
  replace(join(folder, launch.BUNDLE_FACTS_FILE), JSON.stringify({ version: 1, inputs }));
}

function replace(path, contents) {
  writeFileSync(`${path}.new`, contents);
  renameSync(`${path}.new`, path);
}

/** A package outside is found from where it is asked for, not from the bundle. */
function outside(folder) {
  return {
    name: 'outside',
    setup(bundling) {
      bundling.onResolve({ filter: ABSENT }, ({ path }) => ({ path, external: true }));
      bundling.onResolve({ filter: OUTSIDE }, async ({ path, kind, pluginData, resolveDir }) => {
        if (pluginData === 'resolving') return undefined;
        const found = await bundling.resolve(path, { kind, resolveDir, pluginData: 'resolving' });
        if (found.errors.length > 0) return { errors: found.errors };
        return { path: `./${relative(folder, found.path)}`, external: true };
      });
    },
  };
}

/**
 * A module that asks for its own place gets the place of the module, so that files beside it and
 * packages of its package are found; only threads are started from the bundle.
 */
function ownPlaces(root, folder, threadsLeft) {
  const filter = /[\\/]packages[\\/][a-z-]+[\\/]dist[\\/]src[\\/].*\.js$/;
  return {
    name: 'own-places',
    setup(bundling) {
      bundling.onLoad({ filter }, ({ path }) => {
        let contents = readFileSync(path, 'utf8');
        if (!contents.includes('import.meta.url')) return undefined;
        for (const [module, thread, bundled] of THREADS) {
          const start = `new URL('${thread}', import.meta.url)`;
          if (resolve(root, module) !== path || !contents.includes(start)) continue;
          contents = contents.replaceAll(start, `new URL('./${bundled}.js', __bundleUrl)`);
          threadsLeft.delete(module);
        }
        const place = `new URL(${JSON.stringify(`./${relative(folder, path)}`)}, __bundleUrl).href`;
        contents = contents.replaceAll('import.meta.url', place);
        return {
          contents: contents.replaceAll('__bundleUrl', 'import.meta.url'),
          loader: 'js',
          resolveDir: dirname(path),
        };
      });
    },
  };
}
