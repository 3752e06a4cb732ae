/** `redoubt authz rollout`: who would be refused by what is only tried out; 1 while there is anybody. */
import type { Intent } from '#policy/index.ts'
import { type Rollout, rollout, type WouldRefuse } from '#policy/observed/index.ts'
import { intentOf, readIntent } from '../authz-query.ts'
import { type Command, type Input, type Io, listOption } from '../command.ts'
import { OBSERVED_OPTIONS, readObserved } from '../observed-log.ts'
import { askLive, FILE_OPTION } from '../manifest-source.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'

export const authzRollout: Command = {
  name: 'authz rollout',
  summary: 'list by caller what dry-run policies and dry-run (or else STRICT) mTLS would refuse',
  options: [FILE_OPTION, ...OBSERVED_OPTIONS, OUTPUT_OPTION],
  examples: [
    {
      what: 'May the running mesh go strict and enforce what it tries out',
      command: 'redoubt authz rollout',
    },
    {
      what: 'Wait in a script until nobody would have been refused for an hour',
      command: 'until redoubt authz rollout --since 1h >/dev/null; do sleep 60; done',
    },
  ],
  async run(io, input, signal) {
    const intent = await readKnownIntent(io, input, signal)
    const { observations } = await readObserved(io, input, signal)
    const result = rollout(observations, intent)
    print(io, outputFormat(input), result, () => rolloutLines(io, result))
    for (const name of result.untried) {
      io.err(`note: no logged request met the dry-run policy ${name}: nothing is known of it`)
    }
    if (result.requests > 0 && result.tried.length + result.untried.length === 0) {
      io.err('note: no policy is tried out: only callers in plaintext were looked for')
    }
    if (intent?.mesh.accessLog === 'refusals') {
      io.err(
        'note: sidecars log refusals alone, real ones and those of dry-run policies: plaintext that was let in shows with accessLogFile in the Mesh',
      )
    }
    if (result.refused.length > 0) return 1
    if (result.requests > 0 && result.untried.length === 0) return 0
    io.err('redoubt: Cannot tell: too little was seen')
    return 2
  },
}

/** Of manifests that are given, or of the mesh whose logs are read; of a log alone nothing is known. */
async function readKnownIntent(
  io: Io,
  input: Input,
  signal: AbortSignal,
): Promise<Intent | undefined> {
  if (listOption(input, 'file').length > 0) return readIntent(io, input, signal)
  if (listOption(input, 'log').length > 0) return undefined
  const live = await askLive(io, input, signal)
  return live && intentOf(io, live.files)
}

function rolloutLines(io: Io, { refused, requests, tried }: Rollout): readonly string[] {
  const looked = `${requests} request${requests === 1 ? '' : 's'} let through, ${tried.length} dry-run ${tried.length === 1 ? 'policy' : 'policies'} tried`
  if (refused.length === 0) {
    return [`${looked}: ${paint(io, 'green', 'nobody would be refused')}`]
  }
  const total = refused.reduce((sum, one) => sum + one.requests, 0)
  return [
    ...refused.flatMap((one) => refusedLines(io, one)),
    `${looked}: ${paint(io, 'red', `${total} would be refused`)}`,
  ]
}

function refusedLines(io: Io, one: WouldRefuse): readonly string[] {
  const { workload, caller, requests, lastSeen, examples, addresses } = one
  const from = addresses.length === 0 ? '' : ` (from ${addresses.join(', ')})`
  const count = `${requests} request${requests === 1 ? '' : 's'}`
  return [
    `${paint(io, 'bold', caller ?? `a caller without a certificate${from}`)} → ${paint(io, 'bold', workload)}  ${count}, the last at ${lastSeen}`,
    `    ${causeText(one)}`,
    ...examples.map((example) => paint(io, 'dim', `    ${example.requests} × ${example.request}`)),
  ]
}

function causeText({ cause, policies }: WouldRefuse): string {
  const names = policies.join(', ')
  switch (cause) {
    case 'STRICT':
      return policies.length === 0
        ? 'STRICT would refuse it: it comes in plaintext'
        : `the dry-run PeerAuthentication ${names} is STRICT and would refuse it: it comes in plaintext`
    case 'DISABLE':
      return `the dry-run PeerAuthentication ${names} is DISABLE and would refuse it: it speaks mTLS`
    case 'DENY':
      return `the dry-run DENY ${names} would refuse it`
    case 'ALLOW':
      return `no ALLOW would let it through: of those tried out, none matches: ${names}`
    default:
      return cause satisfies never
  }
}
