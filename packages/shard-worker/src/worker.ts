/** Thread entry of a lane. No logic: a task goes to the runner, its reply back to the host. */
import { createLaneRunner } from './host/lane-thread.ts';
import type { ShardReply, ShardTask } from './tasks.ts';

const runner = createLaneRunner();

export default (task: ShardTask): ShardReply | Promise<ShardReply> => runner.run(task);
