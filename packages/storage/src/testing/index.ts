export { FakeProcessTable } from './fake-process-table.ts';
export type { FaultRule, FileOperation, RandomFaults } from './fault-plan.ts';
export { CrashSignal, FaultPlan } from './fault-plan.ts';
export type { ConformanceCase, Expect } from './fs-conformance.ts';
export { fileSystemConformance } from './fs-conformance.ts';
export { SECTOR_SIZE_BYTES } from './memory-file.ts';
export type { CrashOptions } from './memory-fs.ts';
export { MemoryFileSystem } from './memory-fs.ts';
