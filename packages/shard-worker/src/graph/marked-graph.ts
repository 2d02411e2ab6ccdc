/**
 * Marks every call into a native graph library in the lane's pulse, so that its thread is never
 * ended inside one: that would abort the process. Whatever methods graphs and their factories have
 * are marked: one that was forgotten would be a process that dies now and then.
 */
import type { LanePulse } from '../host/lane-pulse.ts';
import type { Graph, GraphFactory } from './graph.ts';

export const markNativeCalls = (
  factory: GraphFactory,
  pulse: Pick<LanePulse, 'native'>,
): GraphFactory => marked(factory, pulse);

type Method = (...given: unknown[]) => unknown;

/** An object that behaves as `target`, with every method marked. */
function marked<Target extends object>(target: Target, pulse: Pick<LanePulse, 'native'>): Target {
  const wrapper: object = {};
  for (const [name, descriptor] of membersOf(target)) {
    const { value } = descriptor;
    if (typeof value === 'function') {
      const method = value as Method;
      Object.defineProperty(wrapper, name, {
        value: (...given: unknown[]) => {
          const result = pulse.native(() => method.apply(target, given));
          return isGraph(result) ? marked(result, pulse) : result;
        },
      });
    } else {
      Object.defineProperty(wrapper, name, { get: () => Reflect.get(target, name) });
    }
  }
  return wrapper as Target;
}

/** Own members and inherited ones; of two with one name the nearer. */
function membersOf(target: object): ReadonlyMap<string, PropertyDescriptor> {
  const members = new Map<string, PropertyDescriptor>();
  let level: object | null = target;
  while (level !== null && level !== Object.prototype) {
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(level)))
      if (name !== 'constructor' && !members.has(name)) members.set(name, descriptor);
    level = Object.getPrototypeOf(level) as object | null;
  }
  return members;
}

const isGraph = (value: unknown): value is Graph =>
  typeof value === 'object' && value !== null && 'addRow' in value && 'search' in value;
