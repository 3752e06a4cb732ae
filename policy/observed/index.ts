export type {
  Learned,
  LearnedOperation,
  LearnedPolicy,
  LearnedRule,
  LearnOptions,
} from './learn.ts'
export { learn, learnedIntents } from './learn.ts'
export type { Observation, Observed } from './read-log.ts'
export { readAccessLog } from './read-log.ts'
export type { Replay } from './replay.ts'
export { replay } from './replay.ts'
export type { Rollout, WouldRefuse } from './rollout.ts'
export { rollout } from './rollout.ts'
