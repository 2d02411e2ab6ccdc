/**
 * The story of the demo, in order: collect, start, import, ask, import with the leader killed,
 * verify, restart, compare, sum up. Each step shows what it did before the next begins.
 */
import { availableParallelism } from 'node:os';
import { type Collection, HoldfastClient } from '@holdfast/client';
import { digestsAtOneIndex, judgeAgreement, ProcessCluster, waitFor } from '@holdfast/jepsen-lite';
import { collectTextFiles, repositoryRoot } from './collect.ts';
import { EMBEDDING_DIMENSION, HashedEmbedder } from './embedder.ts';
import { embeddedText, importPassages } from './importer.ts';
import { type Audit, type FoundPoint, Ledger } from './ledger.ts';
import { cutIntoPassages, type Passage } from './passages.ts';
import { QUESTIONS } from './questions.ts';
import type { Screen } from './screen.ts';

/** Enough to be real, small enough that the demo ends within a minute. */
const PASSAGE_COUNT_MIN = 2_000;
const PASSAGE_COUNT_MAX = 6_000;
/** Every third passage waits for the second batch, which is imported while the leader is killed. */
const SECOND_BATCH_STRIDE = 3;
/** How much of the second batch is acknowledged when the leader is killed. */
const KILL_AT_SHARE = 0.3;
const ANSWERS_SHOWN = 2;
const ANSWER_CHARACTERS_MAX = 260;
/** Points per linearizable read of the final check. */
const READ_BATCH_COUNT = 250;
const READ_TIMEOUT_MS = 60_000;
const COLLECTION = 'passages';

interface Summary {
  failoverMs: number | null;
  audit: Audit | null;
  areDigestsEqual: boolean;
}

export class Demo {
  readonly #screen: Screen;
  readonly #ledger = new Ledger();
  readonly #summary: Summary = { failoverMs: null, audit: null, areDigestsEqual: false };

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** True when nothing acknowledged was lost and the replicas are equal. */
  async run(): Promise<boolean> {
    const startMs = performance.now();
    const { passages, embedder } = this.#collect();
    const cluster = await this.#startCluster();
    let client: HoldfastClient | null = null;
    try {
      client = await HoldfastClient.connect({ nodes: [...cluster.addresses] });
      const collection = await this.#createCollection(client);
      const isSecond = (passage: Passage) => passage.id % SECOND_BATCH_STRIDE === 0;
      const [first, second] = [
        passages.filter((passage) => !isSecond(passage)),
        passages.filter(isSecond),
      ];
      await this.#importFirst(first, collection, embedder);
      await this.#ask(collection, embedder);
      const killed = await this.#importWhileLeaderDies(second, collection, embedder, cluster);
      await this.#verify(collection);
      await this.#restart(cluster, killed);
    } catch (thrown) {
      this.#screen.line(cluster.describeLogs());
      throw thrown;
    } finally {
      await client?.close();
      await cluster.stop();
    }
    return this.#summarize(performance.now() - startMs);
  }

  #collect(): { passages: readonly Passage[]; embedder: HashedEmbedder } {
    this.#screen.heading('1. Real documents');
    const files = collectTextFiles(repositoryRoot());
    const passages = cutIntoPassages(files, PASSAGE_COUNT_MAX);
    if (passages.length < PASSAGE_COUNT_MIN) {
      throw new Error(
        `found ${passages.length} passages, fewer than ${PASSAGE_COUNT_MIN}; is node_modules ` +
          'there?',
      );
    }
    const embedder = HashedEmbedder.fit(passages.map(embeddedText));
    this.#screen.detail(
      `${passages.length} passages from ${files.length} Markdown files of this repository and ` +
        'its node_modules',
    );
    this.#screen.detail(
      `embedded in ${EMBEDDING_DIMENSION} dimensions by hashed word features: a small stand-in ` +
        'for a model',
    );
    return { passages, embedder };
  }

  async #startCluster(): Promise<ProcessCluster> {
    this.#screen.heading('2. A throwaway cluster of three nodes');
    const startMs = performance.now();
    const cluster = await ProcessCluster.launch({ name: 'demo' });
    const leader = await cluster.leader();
    for (const nodeName of cluster.nodeNames) {
      const role = nodeName === leader?.nodeName ? this.#screen.tone('good', 'leader') : 'follower';
      this.#screen.detail(
        `${nodeName}  ${cluster.addressOf(nodeName)}  pid ${cluster.pidOf(nodeName)}  ${role}`,
      );
    }
    this.#screen.detail(
      `ready after ${seconds(performance.now() - startMs)} on ${availableParallelism()} cores; ` +
        `data in ${cluster.directory}`,
    );
    return cluster;
  }

  async #createCollection(client: HoldfastClient): Promise<Collection> {
    await client.createCollection({
      name: COLLECTION,
      dimension: EMBEDDING_DIMENSION,
      metric: 'cosine',
    });
    return client.collection(COLLECTION);
  }

  async #importFirst(
    passages: readonly Passage[],
    collection: Collection,
    embedder: HashedEmbedder,
  ): Promise<void> {
    this.#screen.heading(`3. Import ${passages.length} passages`);
    const bar = this.#screen.progress(passages.length, 'acknowledged');
    const result = await importPassages(passages, {
      collection,
      embedder,
      ledger: this.#ledger,
      onAcknowledged: (count) => bar.advanceTo(count),
    });
    bar.stop();
    const rate = Math.round((result.acknowledgedCount / result.durationMs) * 1_000);
    this.#screen.detail(
      `${result.acknowledgedCount} passages in ${seconds(result.durationMs)} (${rate}/s, ` +
        'embedding included), each on the disks of a majority before it was acknowledged',
    );
  }

  async #ask(collection: Collection, embedder: HashedEmbedder): Promise<void> {
    this.#screen.heading('4. Five questions');
    for (const question of QUESTIONS) {
      const startMs = performance.now();
      const answer = await collection.search(embedder.embed(question), {
        k: ANSWERS_SHOWN,
        withPayload: true,
      });
      const tookMs = performance.now() - startMs;
      this.#screen.line();
      this.#screen.detail(`${this.#screen.tone('bold', question)}  (${tookMs.toFixed(1)} ms)`);
      for (const hit of answer.hits) {
        const { text, source, heading } = hit.payload ?? {};
        const title = this.#screen.tone('warm', `${source}`);
        this.#screen.detail(`  ${hit.score.toFixed(2)}  ${title}  ${heading}`);
        this.#screen.paragraph(shorten(String(text)), '        ');
      }
    }
  }

  async #importWhileLeaderDies(
    passages: readonly Passage[],
    collection: Collection,
    embedder: HashedEmbedder,
    cluster: ProcessCluster,
  ): Promise<string> {
    this.#screen.heading(`5. Import ${passages.length} more, and kill -9 the leader meanwhile`);
    const leader = await cluster.waitUntilReady();
    const bar = this.#screen.progress(passages.length, 'acknowledged');
    let isKilled = false;
    let killedMs = 0;
    let killing: Promise<void> = Promise.resolve();
    const result = await importPassages(passages, {
      collection,
      embedder,
      ledger: this.#ledger,
      onAcknowledged: (count) => {
        bar.advanceTo(count);
        if (isKilled || count < passages.length * KILL_AT_SHARE) return;
        isKilled = true;
        killedMs = performance.now();
        killing = cluster.signal(leader.nodeName, 'SIGKILL');
      },
    });
    await killing;
    bar.stop();
    const successor = await waitFor({ what: 'a new leader', timeoutMs: READ_TIMEOUT_MS }, () =>
      cluster.leader(),
    );
    this.#summary.failoverMs = this.#ledger.failoverMs(killedMs, leader.term);
    this.#screen.detail(
      `killed ${leader.nodeName} (leader of term ${leader.term}); ${successor.nodeName} leads ` +
        `term ${successor.term}`,
    );
    this.#screen.detail(
      `no write was acknowledged for ${failover(this.#summary.failoverMs)}; then the import ` +
        `went on by itself and all ${result.acknowledgedCount} passages were acknowledged`,
    );
    return leader.nodeName;
  }

  async #verify(collection: Collection): Promise<void> {
    this.#screen.heading('6. Is everything that was acknowledged still there?');
    const ids = this.#ledger.ids;
    const found: FoundPoint[] = [];
    const bar = this.#screen.progress(ids.length, 'read back (linearizable)');
    for (let start = 0; start < ids.length; start += READ_BATCH_COUNT) {
      const points = await collection.get(ids.slice(start, start + READ_BATCH_COUNT), {
        consistency: 'linearizable',
        withPayload: true,
        timeoutMs: READ_TIMEOUT_MS,
      });
      for (const point of points) {
        const { text } = point.payload ?? {};
        found.push({ id: Number(point.id), version: point.version, text });
      }
      bar.advanceTo(Math.min(ids.length, start + READ_BATCH_COUNT));
    }
    bar.stop();
    this.#summary.audit = this.#ledger.audit(found);
    const { checkedCount, missingIds, changedIds } = this.#summary.audit;
    this.#screen.check(missingIds.length === 0, `${missingIds.length} of ${checkedCount} missing`);
    this.#screen.check(changedIds.length === 0, `${changedIds.length} of ${checkedCount} changed`);
  }

  async #restart(cluster: ProcessCluster, killed: string): Promise<void> {
    this.#screen.heading(`7. Restart ${killed} and compare the replicas`);
    const startMs = performance.now();
    await cluster.start(killed);
    await cluster.waitUntilReady();
    const digests = await digestsAtOneIndex(cluster, READ_TIMEOUT_MS);
    const verdict = judgeAgreement(digests);
    this.#summary.areDigestsEqual = verdict.kind === 'valid';
    this.#screen.detail(
      `${killed} caught up ${seconds(performance.now() - startMs)} after it was started`,
    );
    for (const { nodeName, appliedIndex, digest } of digests) {
      this.#screen.detail(`${nodeName}  applied ${appliedIndex}  digest ${digest}`);
    }
    this.#screen.check(this.#summary.areDigestsEqual, 'equal digests at an equal index');
  }

  #summarize(durationMs: number): boolean {
    const { audit, areDigestsEqual, failoverMs } = this.#summary;
    const lostCount = (audit?.missingIds.length ?? 0) + (audit?.changedIds.length ?? 0);
    const isGood = audit !== null && lostCount === 0 && areDigestsEqual;
    this.#screen.heading('Summary');
    this.#screen.detail(`acknowledged passages  ${this.#ledger.size}`);
    this.#screen.detail(`lost                   ${lostCount}`);
    this.#screen.detail(`failover               ${failover(failoverMs)}`);
    this.#screen.detail(`replicas               ${areDigestsEqual ? 'equal' : 'DIFFERENT'}`);
    this.#screen.detail(`took                   ${seconds(durationMs)}`);
    this.#screen.check(isGood, isGood ? 'nothing was lost' : 'the promise was broken');
    return isGood;
  }
}

const seconds = (durationMs: number): string => `${(durationMs / 1_000).toFixed(1)} s`;

const failover = (gapMs: number | null): string =>
  gapMs === null ? 'not measured' : `${Math.round(gapMs)} ms`;

const shorten = (text: string): string =>
  text.length <= ANSWER_CHARACTERS_MAX ? text : `${text.slice(0, ANSWER_CHARACTERS_MAX)} ...`;
