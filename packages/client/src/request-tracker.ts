/**
 * The requests of one connection that wait for an answer, by id. Ids count up and are never reused
 * while open, so a late answer to an abandoned request finds nobody and is dropped.
 */
import { assert, HoldfastError } from '@holdfast/base';
import type { ReceivedResponse } from '@holdfast/protocol';

export interface PendingRequest {
  onResult(result: unknown): void;
  onError(error: HoldfastError): void;
}

/** Above what any server grants one connection; a leak of ours fails loudly. */
const PENDING_COUNT_MAX = 65_536;

export class RequestTracker {
  #nextId = 1;
  readonly #pending = new Map<number, PendingRequest>();

  get size(): number {
    return this.#pending.size;
  }

  /** Returns the id to send with the request. */
  add(request: PendingRequest): number {
    assert(this.#pending.size < PENDING_COUNT_MAX, 'too many requests wait on one connection');
    let id = this.#nextId;
    while (this.#pending.has(id)) id = id === 0xffff_ffff ? 1 : id + 1;
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    this.#pending.set(id, request);
    return id;
  }

  /** Nobody waits for the answer any more. */
  abandon(id: number): void {
    this.#pending.delete(id);
  }

  settle(response: ReceivedResponse): void {
    const request = this.#pending.get(response.id);
    if (request === undefined) return;
    this.#pending.delete(response.id);
    if (response.ok) request.onResult(response.result);
    else request.onError(HoldfastError.fromBody(response.error));
  }

  /** Fails everything that waits: the connection is gone, or its node no longer leads. */
  failAll(error: HoldfastError): void {
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const request of waiting) request.onError(error);
  }
}
