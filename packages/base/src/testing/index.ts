export { randomConf } from './random-conf.ts';
export { VirtualClock } from './virtual-clock.ts';
