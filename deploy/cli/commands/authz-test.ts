/** `redoubt authz test`: JSON lines in, a decision for each out. */
import {
  createChecker,
  createTokenChecker,
  judgeCase,
  mismatchText,
  readCase,
} from '#policy/check/index.ts'
import { DeployError } from '../../error.ts'
import { readIntent } from '../authz-query.ts'
import { FILE_OPTION } from '../manifest-source.ts'
import { readText } from '../read-text.ts'
import { STATE_OPTION } from '../state-option.ts'
import { FETCH_OPTION, tokensOf } from '../tokens.ts'
import { type Command, type ExitCode, textOption } from '../command.ts'

export const authzTest: Command = {
  name: 'authz test',
  summary: 'decide many requests; fails when one is not decided as expected',
  options: [
    FILE_OPTION,
    STATE_OPTION,
    {
      flags: '--cases <file>',
      summary:
        'JSON lines: id, to, port, from, proto, method, path, host, headers, …, expect; or -',
      required: true,
    },
    FETCH_OPTION,
  ],
  examples: [
    {
      what: 'Hold a policy to its tests',
      command: 'redoubt authz test -f deploy/samples/qotm --cases cases.jsonl',
    },
    {
      what: 'Ask one thing from a shell',
      command:
        'echo \'{"id":1,"to":"qotm/qotm-v1","from":null,"expect":"deny"}\' | redoubt authz test -f deploy/samples/qotm --cases -',
    },
  ],
  async run(io, input, signal) {
    const path = textOption(input, 'cases')
    if (path === undefined) {
      throw new DeployError('DEPLOY_USAGE', 'Cannot test: expected --cases FILE or --cases -')
    }
    const intent = await readIntent(io, input, signal)
    const tokens = await tokensOf(io, input, intent, signal)
    const check = tokens ? createTokenChecker(intent, tokens) : createChecker(intent)
    const text = await readText(io, path)
    let exitCode: ExitCode = 0
    const lines = [...text.split('\n').entries()].filter(([, one]) => one.trim() !== '')
    if (lines.length === 0)
      throw new DeployError('DEPLOY_USAGE', `Cannot test: there is no case in ${path}`)
    for (const [at, line] of lines) {
      const read = readCase(line, at + 1)
      if (read.kind === 'fault') {
        io.err(`redoubt: ${read.message}`)
        io.out(JSON.stringify({ id: read.id, decision: 'error', reason: 'invalid-case' }))
        exitCode = 2
      } else {
        const result = judgeCase(read.case, await check(read.case.query))
        io.out(JSON.stringify(result))
        if (result.ok === false) {
          io.err(`redoubt: ${mismatchText(read.case, result)}`)
          if (exitCode === 0) exitCode = 1
        }
      }
    }
    return exitCode
  },
}
