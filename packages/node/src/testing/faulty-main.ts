/** The `holdfast` executable with lanes that fail when they are told to: see LANE_FAULT_IDS. */
import { FAULTY_WORKER } from '@holdfast/shard-worker/testing';
import { processIo } from '../cli/io.ts';
import { runCli } from '../cli/program.ts';

const io = { ...processIo(), startOverrides: { laneWorker: FAULTY_WORKER } };
process.exitCode = await runCli(process.argv.slice(2), io);
