/** Watches a learner on its way to a vote and shows how far it is. */
import type { HoldfastClient, MemberInfo } from '@holdfast/client';
import { HoldfastError } from '@holdfast/client';
import { progressLine } from '../cluster/member-table.ts';
import type { CliIo } from './io.ts';

const LOOK_INTERVAL_MS = 250;
/** For a log: a line when something changed, and not more often than this. */
const PLAIN_LINE_INTERVAL_MS = 2_000;

export interface Watched {
  readonly nodeId: string;
  /** The voter it replaces, which has to be gone; null: none. */
  readonly replaces: string | null;
  readonly timeoutMs: number;
}

/** Resolves when the node is a voter. @throws HoldfastError REQUEST_TIMEOUT, MEMBER_UNKNOWN */
export async function watchUntilVoter(
  client: HoldfastClient,
  watched: Watched,
  io: CliIo,
): Promise<void> {
  const screen = new ProgressScreen(io);
  const endMs = performance.now() + watched.timeoutMs;
  // Ends at the deadline at the latest.
  for (;;) {
    const { members, lastIndex } = await client.admin.members();
    const member = members.find(({ nodeId }) => nodeId === watched.nodeId);
    if (member === undefined) throw gone(watched.nodeId);
    screen.show(member, lastIndex);
    const isReplaced = members.every(({ nodeId }) => nodeId !== watched.replaces);
    if (member.role === 'voter' && isReplaced) return;
    if (performance.now() > endMs) throw late(watched);
    await new Promise((resolve) => {
      setTimeout(resolve, LOOK_INTERVAL_MS);
    });
  }
}

class ProgressScreen {
  readonly #io: CliIo;
  #shown = '';
  #shownMs = Number.NEGATIVE_INFINITY;

  constructor(io: CliIo) {
    this.#io = io;
  }

  show(member: MemberInfo, lastIndex: number): void {
    const line = progressLine(member, lastIndex);
    if (line === this.#shown) return;
    const isEnd = member.role === 'voter';
    if (this.#io.isInteractive) {
      this.#io.out(`\r\u001b[K${line}${isEnd ? '\n' : ''}`);
    } else {
      const nowMs = performance.now();
      if (!isEnd && nowMs - this.#shownMs < PLAIN_LINE_INTERVAL_MS) return;
      this.#shownMs = nowMs;
      this.#io.out(`${line}\n`);
    }
    this.#shown = line;
  }
}

const gone = (id: string): HoldfastError =>
  new HoldfastError('MEMBER_UNKNOWN', `${id} is no member any more; somebody removed it`);

const late = ({ nodeId, timeoutMs }: Watched): HoldfastError =>
  new HoldfastError(
    'REQUEST_TIMEOUT',
    `${nodeId} has no vote after ${timeoutMs / 1_000} s; it goes on by itself: see member list`,
  );
