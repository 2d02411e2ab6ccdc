/**
 * Things that run, started in order and stopped in the opposite order. A start that fails stops
 * what was already started, so a refused start leaves no port and no lock behind.
 */
import type { Logger } from '@holdfast/base';

export interface Service {
  readonly name: string;
  start(): Promise<void>;
  /** Called once, after a start that resolved. */
  stop(): Promise<void>;
}

export class ServiceGroup {
  readonly #services: readonly Service[];
  readonly #logger: Logger;
  #started: Service[] = [];

  /** First in the list starts first and stops last. */
  constructor(services: readonly Service[], logger: Logger) {
    this.#services = services;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    for (const service of this.#services) {
      try {
        await service.start();
      } catch (error) {
        await this.stop();
        throw error;
      }
      this.#started.push(service);
    }
  }

  /** Stops everything even if one refuses; the first refusal is thrown at the end. */
  async stop(): Promise<void> {
    const started = this.#started.reverse();
    this.#started = [];
    const failures: unknown[] = [];
    for (const service of started) {
      try {
        await service.stop();
      } catch (error) {
        this.#logger.error({ service: service.name, err: error }, 'a service did not stop cleanly');
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
