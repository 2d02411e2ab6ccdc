/** How far a lane has loaded its shards: cells of shared memory, written by it, read by anyone. */

export const LOAD_PROGRESS_CELL_COUNT = 2;
/** Rows of files read so far. */
export const LOADED_CELL = 0;
/** Rows of all files to read; 0 until the manifests were read. */
export const TOTAL_CELL = 1;
