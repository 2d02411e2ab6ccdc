/** SnapshotMeta as JSON: the sum as hex, everything else as it is. */
import type { ConfState, Member, NodeId, SnapshotMeta } from '@holdfast/base';
import {
  flawOfConf,
  HEX_ID_PATTERN,
  incarnation,
  isNodeId,
  logIndex,
  NODE_ID_PATTERN,
  nodeId,
  term,
} from '@holdfast/base';
import { fromHex, toHex } from './checksum.ts';
import type { JsonFields } from './json-shape.ts';

const SUM_PATTERN = /^[0-9a-f]{32}$/;

export function snapshotToJson(meta: SnapshotMeta): Record<string, unknown> {
  return { ...meta, sum: toHex(meta.sum) };
}

/** @throws HoldfastError FILE_CORRUPT naming the field */
export function snapshotFromJson(fields: JsonFields): SnapshotMeta {
  return {
    index: logIndex(fields.integer('index')),
    term: term(fields.integer('term')),
    sum: fromHex(fields.matching('sum', SUM_PATTERN)),
    conf: confFromJson(fields.object('conf')),
    confIndex: logIndex(fields.integer('confIndex')),
    id: fields.text('id'),
  };
}

function confFromJson(fields: JsonFields): ConfState {
  const nodes = (name: string): readonly NodeId[] =>
    fields.texts(name, NODE_ID_PATTERN).map(nodeId);
  const conf: ConfState = {
    voters: nodes('voters'),
    votersOutgoing: nodes('votersOutgoing'),
    learners: nodes('learners'),
    learnersNext: nodes('learnersNext'),
    autoLeave: fields.flag('autoLeave'),
    members: fields.objects('members').map(memberFromJson),
    promotions: fields.objects('promotions').map((promotion) => {
      const replaces = promotion.textOrNull('replaces');
      if (replaces !== null && !isNodeId(replaces)) throw promotion.wrong('replaces');
      return { nodeId: nodeId(promotion.matching('nodeId', NODE_ID_PATTERN)), replaces };
    }),
    isLeaseEnabled: fields.flag('isLeaseEnabled'),
  };
  if (flawOfConf(conf) !== null) throw fields.wrong('voters');
  return conf;
}

/** @throws HoldfastError FILE_CORRUPT naming the field */
export function memberFromJson(fields: JsonFields): Member {
  return {
    nodeId: nodeId(fields.matching('nodeId', NODE_ID_PATTERN)),
    incarnation: incarnation(fields.matching('incarnation', HEX_ID_PATTERN)),
    address: fields.text('address'),
    clientAddress: fields.textOrNull('clientAddress'),
  };
}
