/**
 * Runs a scenario: every block's commands, and the full trace as its output. The same text gives
 * the same trace, always; a test compares it with what stands in the file.
 */
import { Arguments } from './arguments.ts';
import { parseScript, renderScript, type ScriptCommand } from './script.ts';
import { VERBS } from './verb-table.ts';
import { World } from './world.ts';

/** Lines of trace shown with a failure. */
const TRACE_LINE_COUNT = 20;

/** A command could not be carried out, or an invariant broke; the message has the last events. */
export class ScenarioFailure extends Error {
  override readonly name = 'ScenarioFailure';
}

/** The scenario with the output that it really gives. Equal to `text` when all is as expected. */
export function rerecord(text: string): string {
  const script = parseScript(text);
  const world = new World();
  const outputs = script.blocks.map(({ commands }) => {
    for (const command of commands) run(world, command);
    const lines = world.takeLines();
    return lines.length === 0 ? ['ok'] : lines;
  });
  return renderScript(script, outputs);
}

function run(world: World, command: ScriptCommand): void {
  const args: Arguments = new Arguments(command);
  const verb = VERBS.get(command.verb);
  args.check(verb !== undefined, `unknown verb, known are ${[...VERBS.keys()].join(' ')}`);
  try {
    verb(world, args);
  } catch (cause) {
    const trace = world.takeLines().slice(-TRACE_LINE_COUNT);
    const what = cause instanceof Error ? cause.message : String(cause);
    const where = `line ${command.line}, ${command.verb} ${command.args.join(' ')}`;
    throw new ScenarioFailure([`${where}: ${what}`, ...trace].join('\n'), { cause });
  }
  args.finish();
}
