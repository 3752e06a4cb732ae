import type { Command } from '../command.ts'

/** By first word, in the order of the help. Loaded when asked for: no command pays for another's packages. */
const LOADERS: Readonly<Record<string, () => Promise<readonly Command[]>>> = {
  demo: async () => [(await import('./demo.ts')).demo],
  init: async () => [(await import('./init.ts')).init],
  up: async () => [(await import('./up.ts')).up],
  agent: async () => [(await import('./agent.ts')).agent],
  status: async () => [(await import('./status.ts')).status],
  logs: async () => [(await import('./logs.ts')).logs],
  validate: async () => [(await import('./validate.ts')).validate],
  analyze: async () => [(await import('./analyze.ts')).analyze],
  ca: async () => [
    (await import('./ca-status.ts')).caStatus,
    (await import('./ca-list.ts')).caList,
    (await import('./ca-issue.ts')).caIssue,
    (await import('./ca-token.ts')).caToken,
    ...(await import('./ca-rotate.ts')).caRotate,
    (await import('./ca-taint.ts')).caTaint,
    (await import('./ca-revoke.ts')).caRevoke,
    (await import('./ca-crl.ts')).caCrl,
    (await import('./ca-log-head.ts')).caLogHead,
    (await import('./ca-log-prove.ts')).caLogProve,
    (await import('./ca-log-verify.ts')).caLogVerify,
    (await import('./ca-log-prune.ts')).caLogPrune,
    (await import('./ca-backup.ts')).caBackup,
    (await import('./ca-restore.ts')).caRestore,
  ],
  cert: async () => [
    (await import('./cert-inspect.ts')).certInspect,
    (await import('./cert-verify.ts')).certVerify,
    (await import('./cert-diff.ts')).certDiff,
    (await import('./cert-request.ts')).certRequest,
    (await import('./cert-convert.ts')).certConvert,
  ],
  authz: async () => [
    (await import('./authz-check.ts')).authzCheck,
    (await import('./authz-diff.ts')).authzDiff,
    (await import('./authz-prove.ts')).authzProve,
    (await import('./authz-export.ts')).authzExport,
    (await import('./authz-explain.ts')).authzExplain,
    (await import('./authz-test.ts')).authzTest,
    (await import('./authz-learn.ts')).authzLearn,
    (await import('./authz-rollout.ts')).authzRollout,
  ],
}

/**
 * The commands that begin with `word`; every command for a word that none begins with, so that help
 * and suggestions know them all; none for the version.
 */
export async function loadCommands(word: string): Promise<readonly Command[]> {
  if (word === '--version' || word === '-V') return []
  const known = Object.hasOwn(LOADERS, word) ? LOADERS[word] : undefined
  if (known) return known()
  const all = await Promise.all(Object.values(LOADERS).map((load) => load()))
  return all.flat()
}
