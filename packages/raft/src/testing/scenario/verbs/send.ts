/**
 * `send b>a kind [term=n] [key=value...]`: a message made up by the scenario, delivered at once, as
 * if b had sent it. Default term: a's. Positions are `last=3/2` and `prev=3/2`; entries are
 * `entries=2,2` (their terms). Envelope: `life=old` for another incarnation of the sender, `me=old`
 * for a message to another incarnation of the receiver, `group=7`.
 */
import type { Entry, GroupId, LogIndex, Term } from '@holdfast/base';
import { DEFAULT_GROUP_ID, EMPTY_LOG_SUM } from '@holdfast/base';
import type { RaftMessage, RaftMessageBody } from '../../../messages.ts';
import { incarnationOf, payload } from '../../core-cluster.ts';
import { testHash } from '../../test-hash.ts';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function send(world: World, args: Arguments): void {
  const [sender, receiver] = args.word('a link like b>a').split('>');
  const from = world.id(sender ?? '');
  const { core, id: to } = world.awake(receiver ?? '');
  const body = bodyOf(world, args, args.word('a kind of message'), to);
  const life = (name: string, id: string) => incarnationOf(`${id}${args.option(name) ?? ''}`);
  const message: RaftMessage = {
    ...body,
    group: (args.count('group') ?? DEFAULT_GROUP_ID) as GroupId,
    from,
    to,
    fromIncarnation: life('life', from),
    toIncarnation: life('me', to),
    term: (args.count('term') ?? core.status().term) as Term,
    confIndex: (args.count('conf') ?? 0) as LogIndex,
  };
  world.deliver(message, world.describe(message));
}

function bodyOf(world: World, args: Arguments, kind: string, to: string): RaftMessageBody {
  switch (kind) {
    case 'vote':
    case 'preVote': {
      const [lastIndex, lastTerm] = positionOf(args, 'last');
      return { kind, lastIndex, lastTerm, nonce: 1, isTransfer: args.flag('transfer') };
    }
    case 'timeoutNow': {
      const [lastIndex, lastTerm] = positionOf(args, 'last');
      return { kind, lastIndex, lastTerm };
    }
    case 'heartbeat': {
      const commit = indexOf(args, 'commit');
      return { kind, commit, round: args.count('round') ?? 0, beat: 0, isLeaseWanted: false };
    }
    case 'heartbeatResponse':
      return { kind, round: args.count('round') ?? 0, beat: 0, isLeaseGranted: false };
    case 'appendResponse':
      return { kind, matchIndex: indexOf(args, 'match'), rejection: null };
    case 'append':
      return appendOf(world, args, to);
    default:
      args.check(false, `cannot make a ${kind}`);
  }
}

function appendOf(world: World, args: Arguments, to: string): RaftMessageBody {
  const [prevIndex, prevTerm] = positionOf(args, 'prev');
  const held = world.cluster.replica(to).log.sum(prevIndex);
  const prevSum = typeof held === 'string' ? new Uint8Array(EMPTY_LOG_SUM.length) : held;
  const commit = indexOf(args, 'commit');
  let sum = prevSum;
  const entries = (args.numbers('entries') ?? []).map((value, i): Entry => {
    const index = (prevIndex + i + 1) as LogIndex;
    const data = payload('sent');
    sum = testHash(sum, value as Term, index, 'normal', data);
    return { index, term: value as Term, type: 'normal', data, sum };
  });
  return { kind: 'append', prevIndex, prevTerm, prevSum, entries, commit };
}

function positionOf(args: Arguments, name: string): readonly [LogIndex, Term] {
  const text = args.option(name) ?? '0/0';
  const [index, term] = text.split('/').map(Number);
  args.check(Number.isInteger(index) && Number.isInteger(term), `${name} is index/term`);
  return [index as LogIndex, term as Term];
}

const indexOf = (args: Arguments, name: string): LogIndex => (args.count(name) ?? 0) as LogIndex;
