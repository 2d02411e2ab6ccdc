/**
 * A node on its way to its replica: usually there within a moment, or after a recovery that takes
 * as long as its peers do and shows itself meanwhile. Who stops it need not know which.
 */
import type { HoldfastError } from '@holdfast/base';
import { failpoint, toHoldfastError } from '@holdfast/base';
import type { NodeIdentity } from '@holdfast/storage';
import type { AssembledNode } from '../assemble.ts';
import type { Recovery } from './heal-log.ts';
import { ServiceSwitch, WaitingService } from './waiting-service.ts';

export class BootingNode {
  /** Answers from the moment on that a recovery has begun or the replica is there. */
  readonly service = new ServiceSwitch();
  readonly #assembled: Promise<AssembledNode>;
  readonly #shown: Promise<void>;
  #recovery: Recovery | null = null;
  #node: AssembledNode | null = null;
  #running: Promise<AssembledNode | null> | null = null;
  #isStopped = false;

  /** `assemble` is called at once, and tells about what takes long before the replica is there. */
  constructor(
    identity: NodeIdentity,
    assemble: (onRecovery: (recovery: Recovery) => void) => Promise<AssembledNode>,
  ) {
    let show = (): void => undefined;
    this.#shown = new Promise((resolve) => {
      show = resolve;
    });
    const assembling = assemble((recovery) => {
      this.#recovery = recovery;
      this.service.become(new WaitingService(identity, () => recovery.view()));
      show();
    });
    this.#assembled = assembling.then((node) => {
      this.service.become(node.service);
      return node;
    });
    // Whoever waits for it sees the rejection; `start` comes later.
    this.#assembled.catch(() => undefined);
  }

  /** Resolves when the ports may open: with the replica, or when there is something to show. */
  async servable(): Promise<void> {
    await Promise.race([this.#shown, this.#assembled]);
  }

  /** Starts the replica as soon as it exists. */
  start(onStarted: (node: AssembledNode) => void, onFailure: (error: HoldfastError) => void): void {
    this.#running = this.#assembled.then(
      (node) => {
        if (this.#isStopped) return node;
        this.#node = node;
        onStarted(node);
        node.backup?.start();
        node.site?.start();
        node.replica.start();
        node.care.start();
        return node;
      },
      (error: unknown) => {
        if (!this.#isStopped) onFailure(toHoldfastError(error));
        return null;
      },
    );
  }

  /** Gives the leadership away, when there is a replica. */
  async handOver(): Promise<void> {
    failpoint('stop.before-hand-over');
    await this.#node?.replica.handOver();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#recovery?.stop();
    const node = await this.#running;
    // What it has proposed may only end with the replica.
    const siteEnded = node?.site?.stop();
    await node?.backup?.stop();
    await node?.logCheck.stop();
    await node?.care.stop();
    await node?.replica.stop();
    await siteEnded;
  }
}
