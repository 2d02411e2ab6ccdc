/** Every verb of the scenario language by name; one file each under verbs/. */
import type { Arguments } from './arguments.ts';
import { apply } from './verbs/apply.ts';
import { campaign } from './verbs/campaign.ts';
import { change } from './verbs/change.ts';
import { compact } from './verbs/compact.ts';
import { crash } from './verbs/crash.ts';
import { deliver } from './verbs/deliver.ts';
import { drop } from './verbs/drop.ts';
import { elect } from './verbs/elect.ts';
import { forget } from './verbs/forget.ts';
import { heal } from './verbs/heal.ts';
import { join } from './verbs/join.ts';
import { lease } from './verbs/lease.ts';
import { log } from './verbs/log.ts';
import { members } from './verbs/members.ts';
import { network } from './verbs/network.ts';
import { nodes } from './verbs/nodes.ts';
import { partition } from './verbs/partition.ts';
import { pause } from './verbs/pause.ts';
import { persist } from './verbs/persist.ts';
import { propose } from './verbs/propose.ts';
import { read } from './verbs/read.ts';
import { report } from './verbs/report.ts';
import { restart } from './verbs/restart.ts';
import { resume } from './verbs/resume.ts';
import { send } from './verbs/send.ts';
import { settle } from './verbs/settle.ts';
import { snapshot } from './verbs/snapshot.ts';
import { stall } from './verbs/stall.ts';
import { status } from './verbs/status.ts';
import { tick } from './verbs/tick.ts';
import { transfer } from './verbs/transfer.ts';
import { wipe } from './verbs/wipe.ts';
import type { World } from './world.ts';

/** Acts on the world; whatever it does not take from `args` is refused afterwards. */
export type Verb = (world: World, args: Arguments) => void;

export const VERBS: ReadonlyMap<string, Verb> = new Map(
  Object.entries({
    nodes,
    campaign,
    elect,
    propose,
    change,
    transfer,
    deliver,
    drop,
    send,
    network,
    settle,
    tick,
    persist,
    apply,
    stall,
    partition,
    heal,
    crash,
    restart,
    join,
    wipe,
    pause,
    resume,
    snapshot,
    compact,
    report,
    read,
    lease,
    forget,
    status,
    members,
    log,
  }),
);
