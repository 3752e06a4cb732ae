/** The CA's process by itself, as the supervisor starts it. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import type { Down, Up } from '#deploy/standalone/messages.ts'

/** A CA that serves. */
export interface CaProcess {
  readonly child: ChildProcess
  readonly address: string
  /** PEM. */
  readonly roots: string
  readonly call: (name: string, body?: unknown) => Promise<unknown>
  /** Resolves once it is gone. */
  readonly end: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>
}

/** Starts one on `stateDir`; `change` is put over its configuration. */
export async function startCaProcess(
  stateDir: string,
  change: Readonly<Record<string, unknown>> = {},
): Promise<CaProcess> {
  const child = fork(join(import.meta.dirname, '../../deploy/run/ca.ts'), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const answers = new Map<number, PromiseWithResolvers<unknown>>()
  const ready = Promise.withResolvers<{ address: string; roots: string }>()
  child.on('message', (message: Up) => {
    if (message.kind === 'ready') ready.resolve(message.body as never)
    if (message.kind === 'failed') ready.reject(new Error(message.message))
    if (message.kind === 'answer') answers.get(message.id)?.resolve(message.body)
    if (message.kind === 'refused') answers.get(message.id)?.reject(new Error(message.message))
  })
  const send = (message: Down): void => void child.send(message)
  const body = {
    logFile: join(stateDir, '..', `ca-${child.pid}.log`),
    trustDomain: 'prod.example',
    stateDir,
    listen: '127.0.0.1:0',
    metrics: '127.0.0.1:0',
    leafTtl: 'PT1H',
    maxLeafTtl: 'PT24H',
    caTtl: 'P7D',
    rootTtl: 'P365D',
    authority: { machines: [] },
    federated: [],
    ...change,
  }
  send({ kind: 'configure', body })
  let last = 0
  return {
    child,
    ...(await ready.promise),
    call(name, given) {
      last += 1
      const answer = Promise.withResolvers<unknown>()
      answers.set(last, answer)
      send({ kind: 'call', id: last, name, body: given })
      return answer.promise
    },
    async end(signal) {
      child.kill(signal)
      await exited
    },
  }
}
