/**
 * `npm run demo`: the main job of Holdfast on real text, with a leader killed in the middle of it.
 *
 * Ends with exit code 0 only if every acknowledged passage was read back unchanged by linearizable
 * reads and all three replicas report one digest at one log index.
 */
import { Demo } from './demo.ts';
import { Screen, standardOutput } from './screen.ts';

const screen = new Screen(standardOutput());
try {
  process.exitCode = (await new Demo(screen).run()) ? 0 : 1;
} catch (thrown) {
  screen.line();
  screen.check(false, thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  for (let cause = thrown; cause instanceof Error && cause.cause !== undefined; ) {
    cause = cause.cause;
    screen.detail(`caused by: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  process.exitCode = 1;
}
