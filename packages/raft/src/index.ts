export { decodeRaftMessage, encodeRaftMessage } from './codec.ts';
export { RaftCore } from './core.ts';
export type { InitialState, LogReader } from './log/log-reader.ts';
export type { CatchUp } from './membership/catch-up.ts';
export type { ConfChange, ConfChangeStep, NextConf } from './membership/change.ts';
export { isJoint, nextConf } from './membership/change.ts';
export type { ConfAtIndex } from './membership/conf-history.ts';
export type {
  AppendRejection,
  Envelope,
  RaftMessage,
  RaftMessageBody,
  RaftMessageKind,
  VoteRefusal,
} from './messages.ts';
export type { RaftOptions } from './options.ts';
export type {
  AppendRequest,
  ApplyRequest,
  Contradiction,
  DropReason,
  GatedMessages,
  LeaseReadDrop,
  LeaseReadOutcome,
  ProposeConfOutcome,
  ProposeOutcome,
  RaftEvent,
  ReadOutcome,
  ReadState,
  Ready,
  Role,
  SoftState,
  StepDownReason,
  TransferDrop,
  TransferEnd,
  TransferOutcome,
} from './ready.ts';
export type { LostRange, RepairLog, Responder } from './repair/entry-answer.ts';
export { answerEntryRequest } from './repair/entry-answer.ts';
export type {
  RangeRepairOptions,
  RepairProgress,
  RepairVerdict,
} from './repair/range-repair.ts';
export { RangeRepair } from './repair/range-repair.ts';
export type { PeerStatus, RaftStatus } from './status.ts';
export type { ProgressState } from './tracker/progress.ts';
