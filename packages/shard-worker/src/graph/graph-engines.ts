/**
 * The graph engines that this machine can load, and which of them a collection gets. hnswlib-node
 * is compiled at installation and may be missing; usearch comes as a binary for the usual machines.
 * A collection's wish is only a wish: a graph is a cache, so a node without the engine takes the
 * other, and a node without any searches exactly.
 */
import { createRequire } from 'node:module';
import { HoldfastError } from '@holdfast/base';
import type { GraphEngineName } from '../model.ts';
import type { GraphBuild, GraphFactory, GraphOptions } from './graph.ts';
import type { NativeIndexConstructor } from './hnswlib-graph.ts';
import { HnswlibGraph } from './hnswlib-graph.ts';
import { isHnswlibFileComplete, isUsearchFileComplete } from './native-file.ts';
import type { UsearchIndexConstructor } from './usearch-graph.ts';
import { UsearchGraph } from './usearch-graph.ts';

/** The native classes that could be loaded, with the versions of their packages. */
export interface LoadedEngines {
  readonly hnswlib?: { readonly Index: NativeIndexConstructor; readonly version: string };
  readonly usearch?: { readonly Index: UsearchIndexConstructor; readonly version: string };
}

/**
 * From this dimension on usearch answers faster than hnswlib-node at f32 (ADR 0021 has the table):
 * hnswlib-node converts every component of every query, which grows with the dimension.
 */
export const USEARCH_DIMENSION_MIN = 256;

/**
 * What a collection gets here; null when no engine could be loaded. bf16 exists in usearch only;
 * a node that has no usearch builds f32 instead, which finds no less.
 */
export function chooseEngine(
  loaded: LoadedEngines,
  { graph, dimension }: GraphOptions,
): GraphBuild | null {
  const wanted = graph.engine === 'auto' ? automatic(graph.precision, dimension) : graph.engine;
  const other: GraphEngineName = wanted === 'hnswlib' ? 'usearch' : 'hnswlib';
  const engine = [wanted, other].find((name) => loaded[name] !== undefined);
  if (engine === undefined) return null;
  return {
    engine,
    precision: engine === 'hnswlib' ? 'f32' : graph.precision,
    engineVersion: `${loaded[engine]?.version ?? ''} abi ${process.versions.modules}`,
  };
}

const automatic = (precision: 'f32' | 'bf16', dimension: number): GraphEngineName =>
  precision === 'bf16' || dimension >= USEARCH_DIMENSION_MIN ? 'usearch' : 'hnswlib';

/** A factory over the engines given; null when there are none. */
export function createGraphFactory(loaded: LoadedEngines): GraphFactory | null {
  const { hnswlib, usearch } = loaded;
  if (hnswlib === undefined && usearch === undefined) return null;
  const buildFor = (options: GraphOptions): GraphBuild => {
    const build = chooseEngine(loaded, options);
    if (build === null) throw noEngine();
    return build;
  };
  const isHnswlib = (options: GraphOptions) => buildFor(options).engine === 'hnswlib';
  return {
    buildFor,
    create: (options) =>
      isHnswlib(options)
        ? HnswlibGraph.create(present(hnswlib), options)
        : UsearchGraph.create(present(usearch), options),
    load: (options, path, labels) =>
      isHnswlib(options)
        ? HnswlibGraph.load(present(hnswlib), options, path, labels)
        : UsearchGraph.load(present(usearch), options, path, labels),
    isFileComplete: (options, file) =>
      isHnswlib(options) ? isHnswlibFileComplete(file) : isUsearchFileComplete(file),
  };
}

function present<Index>(engine: { readonly Index: Index } | undefined): Index {
  if (engine === undefined) throw noEngine();
  return engine.Index;
}

const noEngine = () => new HoldfastError('INTERNAL', 'No graph engine is loaded on this node.');

let found: LoadedEngines | undefined;

/** What this machine can load. Tried at the first call, then remembered. */
export function loadEngines(): LoadedEngines {
  found ??= { ...tryHnswlib(), ...tryUsearch() };
  return found;
}

let factory: GraphFactory | null | undefined;

/** The factory of this machine; null when searches can only be exact here. */
export function loadGraphFactory(): GraphFactory | null {
  factory ??= createGraphFactory(loadEngines());
  return factory;
}

const load = createRequire(import.meta.url);

function tryHnswlib(): LoadedEngines {
  try {
    const { HierarchicalNSW } = load('hnswlib-node') as {
      readonly HierarchicalNSW: NativeIndexConstructor;
    };
    const { version } = load('hnswlib-node/package.json') as { readonly version: string };
    return { hnswlib: { Index: HierarchicalNSW, version } };
  } catch {
    // Optional: whoever compiles nothing has no hnswlib-node. The node says which engines it has.
    return {};
  }
}

function tryUsearch(): LoadedEngines {
  try {
    const { Index } = load('usearch') as { readonly Index: UsearchIndexConstructor };
    return { usearch: { Index, version: USEARCH_VERSION } };
  } catch {
    // No binary for this machine.
    return {};
  }
}

/** Its package does not export package.json; the catalog pins this version, and a test compares. */
export const USEARCH_VERSION = '2.25.3';
